"""What a definition may hold is counted first, and what is over it is refused by field, unread."""

import tracemalloc
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from services.gateway import bodies
from shared import findings, json_values, schemas, template_checks
from shared.meta_schema import schema_error
from shared.validation import InvalidDefinition, Problem, check_input, validate_engine
from shared.workflow import Input


def engine(*nodes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"id": "mine", "name": "Mine", "nodes": list(nodes), "output": nodes[-1]["id"], **changes}


def template(node_id: str, text: str, **changes: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "template", "template": text, **changes}


def structured(node_id: str, schema: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": node_id,
        "kind": "generate",
        "model": "m",
        "prompt": "x",
        "output_schema": schema,
        **changes,
    }


def ones(tokens: int) -> str:
    """A template of so many tokens, an even number."""
    return "{{ [" + "1," * ((tokens - 4) // 2) + "] }}"


def problems(definition: dict[str, Any]) -> list[Problem]:
    with pytest.raises(InvalidDefinition) as refused:
        validate_engine(definition, {"m"})
    return list(refused.value.problems)


def the_problem(definition: dict[str, Any]) -> Problem:
    (problem,) = problems(definition)
    return problem


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when anything is parsed or checked against the meta-schema."""

    def read(*_: object) -> None:
        raise AssertionError("it is read although it is too much")

    monkeypatch.setattr(template_checks._ENVIRONMENT, "parse", read)
    monkeypatch.setattr(schemas, "schema_error", read)


def test_as_many_tokens_as_there_may_be() -> None:
    validate_engine(engine(template("a", ones(5_000))), None)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    "text", [ones(5_002), ones(240_000), "{{ " + "~".join("a" * 80_000) + " }}", "{" * 9_000]
)
def test_a_template_of_too_many_tokens(text: str) -> None:
    problem = the_problem(engine(template("a", text)))
    assert (problem.node, problem.field) == ("a", "nodes.a.template")
    assert "more than 5,000 tokens" in problem.detail


@pytest.mark.usefixtures("unread")
def test_the_tokens_of_all_templates_count_together() -> None:
    loop = {
        "id": "c",
        "kind": "for_each",
        "items": ones(2_000),
        "node": {"kind": "template", "template": "x"},
    }
    problem = the_problem(engine(template("a", ones(2_000)), template("b", ones(2_000)), loop))
    assert (problem.node, problem.field) == ("c", "nodes.c.items")
    assert "5,000" in problem.detail


def test_text_outside_of_braces_is_one_token() -> None:
    validate_engine(engine(template("a", "word " * 40_000 + "{{ 1 }}" + "\n" * 9_000)), None)


@pytest.mark.usefixtures("unread")
def test_blocks_within_each_other() -> None:
    problem = the_problem(engine(template("a", "{% for x in [] %}" * 16 + "{% endfor %}" * 16)))
    assert (problem.field, problem.detail[:14]) == ("nodes.a.template", "has 16 blocks ")


def test_blocks_after_each_other_and_values_that_are_set_are_not_nested() -> None:
    text = "{% for x in [] %}{% set y = 1 %}{% endfor %}" * 20 + "{% if 1 %}" * 15 + "{% endif %}" * 15
    validate_engine(engine(template("a", text)), None)


@pytest.mark.usefixtures("unread")
def test_too_many_templates() -> None:
    case = {"when": "{{ 1 }}", "node": {"kind": "template", "template": "x"}}
    nodes = [{"id": f"n{number}", "kind": "branch", "cases": [case] * 20} for number in range(13)]
    problem = the_problem(engine(*nodes))
    assert (problem.field, "520" in problem.detail, "500" in problem.detail) == ("nodes", True, True)


@pytest.mark.usefixtures("unread")
def test_too_many_inputs() -> None:
    problem = the_problem(engine(template("a", "x"), inputs={f"i{number}": {} for number in range(201)}))
    assert (problem.field, problem.detail) == ("inputs", "are 201, and 200 is the most")


def test_as_many_inputs_and_values_as_there_may_be() -> None:
    inputs: dict[str, Any] = {f"i{number}": {} for number in range(200)}
    properties: dict[str, Any] = {f"p{number}": {} for number in range(1_999)}
    validate_engine(engine(structured("a", {"properties": properties}), inputs=inputs), None)


@pytest.mark.usefixtures("unread")
def test_too_many_values_in_the_schemas() -> None:
    properties: dict[str, Any] = {"properties": {f"p{number}": {} for number in range(1_200)}}
    task = structured("x", properties)
    del task["id"]
    loop = {"id": "b", "kind": "repeat", "times": 2, "until": "{{ 1 }}", "node": task}
    problem = the_problem(engine(structured("a", properties), loop))
    assert (problem.node, problem.field) == ("b", "nodes.b.node.output_schema")
    assert "1,201 values" in problem.detail
    assert "2,000" in problem.detail


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    "schema",
    [{"pattern": "a" * 20_001}, {"items": {"patternProperties": {"a" * 10_001: {}, "b" * 10_000: {}}}}],
)
def test_too_many_characters_in_patterns(schema: dict[str, Any]) -> None:
    problem = the_problem(engine(structured("a", schema)))
    assert problem.field == "nodes.a.output_schema"
    assert "20,001 characters in patterns" in problem.detail


def test_every_bound_that_is_passed_is_told() -> None:
    inputs: dict[str, Any] = {f"i{number}": {} for number in range(300)}
    found = problems(engine(structured("a", {"enum": [1] * 3_000}, prompt=ones(6_000)), inputs=inputs))
    assert [each.field for each in found] == ["inputs", "nodes.a.prompt", "nodes.a.output_schema"]


def test_what_can_not_be_read_is_told_by_who_reads_it() -> None:
    assert "line 1" in the_problem(engine(template("a", "{{ 'a }}"))).detail


def test_the_first_problems_come_with_a_suggestion() -> None:
    text = "".join(f"{{{{ topic{number} }}}}" for number in range(300))
    found = problems(engine(template("a", text), inputs={"topic": {}}))
    assert len(found) == findings.MAX_PROBLEMS
    assert sum("did you mean" in each.detail for each in found) == findings.MAX_SUGGESTIONS


def test_of_an_input_too() -> None:
    _, found = check_input({"topic": Input()}, {f"topic{number}": 1 for number in range(9_000)})
    assert len(found) == findings.MAX_PROBLEMS
    assert sum("did you mean" in each.detail for each in found) == findings.MAX_SUGGESTIONS


def test_a_name_is_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def close_matches(_: str, names: list[str], **__: Any) -> list[str]:
        compared.append(len(names))
        return ["topic"]

    monkeypatch.setattr("difflib.get_close_matches", close_matches)
    assert findings.did_you_mean("topc", [f"name{number}" for number in range(9_000)])
    assert compared == [findings.MAX_NAMES]


def test_a_schema_is_visited_once_however_many_references_lead_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    visits = 0
    visit = schemas._applied_to_same_value

    def counted(*given: Any) -> Any:
        nonlocal visits
        visits += 1
        return visit(*given)

    monkeypatch.setattr(schemas, "_applied_to_same_value", counted)
    references = {f"p{number}": {"$ref": "#/$defs/a"} for number in range(400)}
    schema = {"properties": references, "$defs": {"a": {"allOf": [{} for _ in range(900)]}}}
    assert not list(schemas.schema_faults(schema))
    assert visits <= 400 + 1 + 900


def test_a_circle_of_references_is_found_behind_others() -> None:
    definitions = {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/b"}]}}
    assert [path for path, _ in schemas.schema_faults({"$ref": "#/$defs/a", "$defs": definitions})] == [
        "$defs.b.anyOf.0.$ref"
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strng"},
        {"type": ["string", "string"]},
        {"type": [{"a": 1}, None]},
        {"required": ["a", "a"]},
        {"properties": {"a": {"items": [{}]}}},
        {"not": {"not": {"minLength": -1}}},
        {"$defs": {"a": 3}},
        {"patternProperties": {"(": {}}},
        {"dependentRequired": {"a": [1]}},
        {"$id": "x#y"},
        {"$anchor": "1"},
        {"unevaluatedItems": 3},
        {"format": 3},
        {"contentSchema": 3},
        {"deprecated": 3},
        {"dependencies": {"a": 1}},
        {"anyOf": []},
        {"properties": {"a": True, "type": {"const": {"type": 3}}}, "unknown": {"type": 3}},
        {"$dynamicRef": "#meta", "prefixItems": [{"if": {}, "then": False}]},
    ],
)
def test_a_schema_is_judged_as_by_the_published_meta_schema(schema: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        published = None
    except SchemaError as error:
        published = list(error.absolute_path)
    found = schema_error(schema)
    assert (found and list(found.absolute_path)) == published


def test_a_long_name_is_not_kept_for_each_place_under_it() -> None:
    value = {"k" * 120_000: [1] * 3_000}
    tracemalloc.start()
    try:
        assert json_values.fault(value, 1_000_000) is None
        assert not list(bodies._faults(value))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
