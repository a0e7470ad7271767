"""What a value certainly is, by the schema of its node, is known before anything runs."""

from typing import Any

import pytest

from shared.validation import validate_engine
from tests.support.drafts import MODELS, engine, for_each, generate, problems, template

OUTLINE = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "items": {"type": "array", "items": {"type": "string"}}},
}


@pytest.mark.parametrize(
    ("items", "detail"),
    [
        ("{{ text }}", "must give a list such as {{ text.splitlines() }}, and this is a text"),
        ("{{ topic }}", "must give a list such as {{ text.splitlines() }}, and this is a text"),
        ("{{ outline }}", "must give a list, and this is an object"),
        ("{{ outline.title }}", "must give a list such as {{ text.splitlines() }}, and this is a text"),
        ("{{ 5 }}", "must give a list, and this is a number"),
        ("{{ outline.items }}", "outline.items is a method of every object: write outline['items']"),
        ("{{ outline.titel }}", "the output_schema of outline has no 'titel'; did you mean title?"),
        ("{{ text.parts }}", "text is a text and has no 'parts'"),
    ],
)
def test_items_that_are_certainly_no_list(items: str, detail: str) -> None:
    outline = generate("outline", "x", output_schema=OUTLINE)
    found = problems(
        engine(outline, generate("text", "{{ outline }}"), for_each("parts", items, after=["text"]))
    )
    assert found == {("parts", "nodes.parts.items"): detail}


@pytest.mark.parametrize(
    "items",
    [
        "{{ outline['items'] }}",
        "{{ text.splitlines() }}",
        "{{ outline.title or [] }}",
        "{{ text | list }}",
        "{{ range(3) }}",
        "{{ outline.others | default([]) }}",
        "{{ outline.get('x', []) }}",
    ],
)
def test_items_that_may_be_a_list(items: str) -> None:
    outline = generate("outline", "x", output_schema=OUTLINE)
    loop = for_each("parts", items, after=["text"])
    validate_engine(engine(outline, generate("text", "{{ outline }}"), loop), MODELS)


def test_fields_of_an_item_are_known_from_the_schema_of_its_list() -> None:
    chapter = {"type": "object", "properties": {"title": {"type": "string"}}}
    schema = {"type": "object", "properties": {"chapters": {"type": "array", "items": chapter}}}
    outline = generate("outline", "x", output_schema=schema)
    task = {"kind": "template", "template": "{{ item.titel }}"}
    found = problems(engine(outline, for_each("parts", "{{ outline.chapters }}", task)))
    assert found == {
        (
            "parts",
            "nodes.parts.node.template",
        ): "the output_schema of item has no 'titel'; did you mean title?"
    }


@pytest.mark.parametrize("text", ["{{ [1, 2] | random }}", "{{ lipsum() }}"])
def test_templates_have_nothing_that_changes_from_one_time_to_the_next(text: str) -> None:
    assert set(problems(engine(template("a", text)))) == {("a", "nodes.a.template")}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "obj"}, ".type"),
        ({"properties": {"x": {"minimum": "1"}}}, ".properties.x.minimum"),
        ({"properties": {"x": {"pattern": "("}}}, ".properties.x.pattern"),
        ({"$ref": "https://example.org/schema"}, ".$ref"),
        ({"items": {"$ref": "#/$defs/x"}}, ".items.$ref"),
        ({"$schema": [1]}, ".$schema"),
        ({"$ref": "#"}, ".$ref"),
        ({"allOf": [{"$ref": "#"}]}, ".allOf.0.$ref"),
        ({"$defs": {"x": {"anyOf": [{"$ref": "#/$defs/x"}]}}}, ".$defs.x.anyOf.0.$ref"),
    ],
)
def test_schemas_of_structured_output_are_checked(schema: dict[str, Any], path: str) -> None:
    assert set(problems(engine(generate("a", "x", output_schema=schema)))) == {
        ("a", f"nodes.a.output_schema{path}")
    }


def test_a_schema_may_refer_to_itself() -> None:
    tree = {"type": "object", "properties": {"children": {"items": {"$ref": "#/$defs/tree"}}}}
    schema = {
        "$defs": {"tree": tree},
        "items": {"$ref": "#/$defs/tree"},
        "properties": {"whole": {"$ref": "#"}},
    }
    validate_engine(engine(generate("a", "x", output_schema=schema)), MODELS)
