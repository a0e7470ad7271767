"""Whatever a schema asks for, the made value follows it."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.standin.schema import Maker, broken
from deploy.local.standin.subject import find

PROMPT = "Plan a short book about lighthouses with four chapters"
_NAMES = st.sampled_from(
    ["title", "name", "summary", "chapters", "number", "tags", "id", "anything", "isDone"]
)


def make(schema: dict[str, Any], seed: int = 1, prompt: str = PROMPT) -> Any:
    return Maker(schema, find(prompt), prompt, seed).make()


def _ordered(low: int, high: int, name_low: str, name_high: str) -> st.SearchStrategy[dict[str, Any]]:
    pair = st.tuples(st.integers(low, high), st.integers(0, high - low))
    both = pair.map(lambda found: {name_low: found[0], name_high: found[0] + found[1]})
    return st.one_of(st.just({}), both, both.map(lambda found: {name_low: found[name_low]}))


_STRINGS = st.one_of(
    _ordered(0, 300, "minLength", "maxLength").map(lambda limits: {"type": "string", **limits}),
    st.sampled_from(["date-time", "date", "time", "email", "uri", "uuid"]).map(
        lambda form: {"type": "string", "format": form}
    ),
    st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True).map(lambda names: {"enum": names}),
)
_NUMBERS = st.one_of(
    _ordered(-1000, 1000, "minimum", "maximum").map(lambda limits: {"type": "integer", **limits}),
    _ordered(-1000, 1000, "minimum", "maximum").map(lambda limits: {"type": "number", **limits}),
    st.integers(-50, 50).map(
        lambda low: {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + 2}
    ),
    st.integers(-50, 50).map(
        lambda low: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 1}
    ),
    st.integers(2, 9).map(lambda step: {"type": "integer", "minimum": 1, "maximum": 100, "multipleOf": step}),
)
_LEAVES = st.one_of(
    _STRINGS,
    _NUMBERS,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 7}, {"type": ["string", "null"]}, {}]),
)


def _branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(_NAMES, inner, max_size=4)
    objects = properties.flatmap(
        lambda found: (
            st.lists(st.sampled_from(sorted(found)), unique=True).map(
                lambda required: {"type": "object", "properties": found, "required": required}
            )
            if found
            else st.just({"type": "object"})
        )
    )
    arrays = st.tuples(inner, _ordered(0, 5, "minItems", "maxItems")).map(
        lambda found: {"type": "array", "items": found[0], **found[1]}
    )
    return st.one_of(
        objects,
        arrays,
        st.lists(inner, min_size=1, max_size=3).map(lambda choices: {"anyOf": choices}),
        inner.map(lambda node: {"type": "object", "additionalProperties": node, "minProperties": 1}),
    )


@given(schema=st.recursive(_LEAVES, _branches, max_leaves=8), seed=st.integers(0, 2**64 - 1))
def test_a_made_value_follows_its_schema(schema: dict[str, Any], seed: int) -> None:
    jsonschema.validate(make(schema, seed), schema)


@given(seed=st.integers(0, 1000))
def test_the_same_seed_makes_the_same_value(seed: int) -> None:
    schema = {"type": "array", "items": {"type": "string"}}
    assert make(schema, seed) == make(schema, seed)


def test_references_may_be_recursive() -> None:
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["title", "next"],
            }
        },
        "$ref": "#/$defs/node",
    }
    jsonschema.validate(make(schema), schema)


def test_the_api_s_own_form_with_capitals_snake_case_and_numbers_as_text() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "title": {"type": "STRING"},
            "note": {"type": "STRING", "nullable": True},
            "parts": {"type": "ARRAY", "items": {"type": "STRING"}, "min_items": "6", "maxItems": "6"},
        },
        "required": ["title", "parts"],
    }
    made = make(schema)
    assert isinstance(made["title"], str)
    assert len(made["parts"]) == 6


def test_all_of_joins_its_parts() -> None:
    parts = [
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"properties": {"b": {"type": "string"}}},
    ]
    schema = {"type": "object", "allOf": parts}
    jsonschema.validate(made := make(schema), schema)
    assert set(made) == {"a", "b"}


def test_unique_items_differ() -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b", "c", "d"]}, "uniqueItems": True, "minItems": 4}
    assert sorted(make(schema, prompt="anything")) == ["a", "b", "c", "d"]


def test_an_outline_has_as_many_chapters_as_asked_with_titles_and_numbers_of_their_own() -> None:
    chapter = {"type": "object", "properties": {"title": {"type": "string"}, "number": {"type": "integer"}}}
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "chapters": {"type": "array", "items": chapter}},
    }
    made = make(schema)
    assert made["title"] == "Lighthouses"
    assert [chapter["number"] for chapter in made["chapters"]] == [1, 2, 3, 4]
    assert len({chapter["title"] for chapter in made["chapters"]}) == 4


@pytest.mark.parametrize("kind", ["object", "array", "string", "integer", "boolean"])
def test_a_broken_value_does_not_follow(kind: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken({"type": kind}), {"type": kind})
