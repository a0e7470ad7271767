"""Schemas are somebody's programs: checking an answer must neither fetch, nor run without an end."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.executor.apart import Apart
from services.executor.schema_checks import TOO_MUCH, schema_fault
from shared.schemas import answer_fault, schema_faults

pytestmark = pytest.mark.usefixtures("nothing_is_reported")

TEXT = {"type": "object", "required": ["t"], "properties": {"t": {"type": "string"}}}
SEARCHES_FOR_EVER = {"type": "string", "pattern": "^(a+)+$"}
DOUBLES = {
    "anyOf": [
        {"properties": {"a": {"$ref": "#"}}, "required": ["b"]},
        {"properties": {"a": {"$ref": "#"}}, "required": ["c"]},
    ]
}


def nested(depth: int) -> str:
    return '{"a": ' * depth + "{}" + "}" * depth


@pytest.mark.parametrize(
    ("text", "schema"),
    [(json.dumps("a" * 40 + "!"), SEARCHES_FOR_EVER), (nested(40), DOUBLES)],
    ids=["pattern", "doubling"],
)
async def test_what_would_never_end_is_a_fault_of_the_answer(text: str, schema: dict[str, Any]) -> None:
    assert await schema_fault(Apart(), text, schema) == TOO_MUCH


async def test_what_takes_a_while_is_found_out_apart() -> None:
    many = json.dumps({"t": "x", "more": [{"n": number} for number in range(20_000)]})
    schema = {**TEXT, "properties": {"more": {"items": {"properties": {"n": {"type": "integer"}}}}}}
    assert await schema_fault(Apart(), many, schema) is None
    assert "is not of type 'string'" in str(await schema_fault(Apart(), '{"t": 1}', TEXT))


@pytest.mark.parametrize("dialect", ["http://json-schema.org/draft-04/schema#", None])
def test_a_schema_of_an_earlier_release_fetches_nothing(tmp_path: Path, dialect: str | None) -> None:
    there = tmp_path / "there.json"
    there.write_text("{}")
    inner: dict[str, Any] = {"allOf": [{"$id": there.as_uri(), "$ref": "#/b"}]}
    schema = {"properties": {"t": {"$ref": "#/a"}}, "a": inner, "exclusiveMinimum": 1}
    assert answer_fault('{"t": "x"}', schema | ({"$schema": dialect} if dialect else {})) is not None


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"$id": "http://127.0.0.1/x"}, "$id"),
        (
            {"properties": {"t": {"allOf": [{"$id": "file:///etc/x", "$ref": "#"}]}}},
            "properties.t.allOf.0.$id",
        ),
        ({"$defs": {"a": {"$anchor": "b"}}}, "$defs.a.$anchor"),
        ({"$dynamicRef": "#b"}, "$dynamicRef"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "$schema"),
    ],
    ids=["id", "nested-id", "anchor", "dynamic", "draft"],
)
def test_what_changes_where_references_lead_is_refused(schema: dict[str, Any], path: str) -> None:
    [(found, sentence)] = schema_faults(schema)
    assert found == path
    assert sentence


def test_properties_may_have_the_names_of_such_keywords() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"$id": {"type": "string"}},
    }
    assert list(schema_faults(schema)) == []
    assert answer_fault('{"$id": "x"}', schema) is None
