"""What is wrong with a definition is said with node and field."""

import json
from typing import Any

import pytest

from shared.validation import InvalidDefinition, Unfit, validate_engine
from shared.workflow import models_used
from tests.support.drafts import MODELS, engine, for_each, generate, problems, template


def test_a_fallback_must_follow_a_schema_too_when_any_node_has_one() -> None:
    unfit = Unfit(for_schemas=frozenset({"gemini-3.5-flash-lite"}))
    definition = engine(fallback_model="gemini-3.5-flash-lite")
    validate_engine(definition, MODELS, None, unfit)
    definition["nodes"][0]["output_schema"] = {"type": "object"}
    with pytest.raises(InvalidDefinition) as refused:
        validate_engine(definition, MODELS, None, unfit)
    assert [problem.field for problem in refused.value.problems] == ["fallback_model"]


def test_a_good_definition_is_read() -> None:
    found = validate_engine(engine(), MODELS)
    assert found.node("outline").kind == "generate"


@pytest.mark.parametrize("definition", [None, [], "text", 5, b"x", object()])
def test_what_is_no_object_is_refused(definition: object) -> None:
    assert set(problems(definition)) == {(None, "definition")}


def test_missing_fields_are_named() -> None:
    assert problems({}) == {(None, field): "is missing" for field in ("id", "name", "nodes", "output")}


def test_fields_that_look_like_marks_of_the_parser_are_fields() -> None:
    assert problems(engine(**{"[key]": 1, "": 2})) == {
        (None, "[key]"): "is not a field that is known here",
        (None, "definition"): "is not a field that is known here",
    }


def test_fields_of_a_node_are_named_by_its_id() -> None:
    node = {"id": "outline", "kind": "generate", "model": "gemini-3.8-flash", "promt": "x", "temperature": 3}
    assert problems(engine(node)) == {
        ("outline", "nodes.outline.prompt"): "is missing",
        ("outline", "nodes.outline.promt"): "is not a field that is known here; did you mean prompt?",
        ("outline", "nodes.outline.temperature"): "must be at most 2",
    }


def test_a_node_without_an_id_is_named_by_its_place() -> None:
    found = problems(engine(template("a", "x"), {"kind": "template", "template": "y", "id": 7}, output="a"))
    assert found == {(None, "nodes.1.id"): "must be a text"}


def test_fields_inside_a_loop_are_named_without_marks_of_the_parser() -> None:
    found = problems(engine(for_each("parts", "{{ topic }}", {"kind": "generate", "model": 5})))
    assert found == {
        ("parts", "nodes.parts.node.model"): "must be a text",
        ("parts", "nodes.parts.node.prompt"): "is missing",
    }


def test_only_faults_of_the_kind_that_is_meant_are_told() -> None:
    found = problems(engine({"id": "a", "kind": "template", "prompt": "x"}))
    assert set(found) == {("a", "nodes.a.template"), ("a", "nodes.a.prompt")}


def test_an_unknown_kind_comes_with_a_suggestion() -> None:
    found = problems(engine({"id": "a", "kind": "tmplate", "template": "x"}))
    assert found == {
        (
            "a",
            "nodes.a",
        ): "there is no kind 'tmplate', only generate, template, for_each, branch, repeat; did you mean template?"
    }


def test_an_input_default_of_a_wrong_form_is_told_once() -> None:
    assert problems(engine(inputs={"topic": {"default": {"a": 1}}})) == {
        (None, "inputs.topic.default"): "must be a text, a number or a list of texts"
    }


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "number", "default": "three"}, "default"),
        ({"type": "text", "default": 3}, "default"),
        ({"type": "choice"}, "choices"),
        ({"type": "choice", "choices": ["a", "a"]}, "choices"),
        ({"type": "choice", "choices": ["a", " "]}, "choices"),
        ({"type": "choice", "choices": ["a"], "default": "b"}, "default"),
        ({"type": "text", "choices": ["a"]}, "choices"),
        ({"type": "number", "minimum": 3, "maximum": 2}, "minimum"),
        ({"type": "number", "minimum": 3, "default": 2}, "default"),
        ({"type": "text", "minimum": 3}, "minimum"),
        ({"type": "number", "max_length": 3}, "max_length"),
        ({"type": "text", "max_length": 3, "default": "long"}, "default"),
    ],
)
def test_inputs_that_contradict_themselves(spec: dict[str, Any], field: str) -> None:
    assert set(problems(engine(inputs={"topic": spec}))) == {(None, f"inputs.topic.{field}")}


def test_names_that_clash() -> None:
    found = problems(
        engine(
            template("topic", "x"),
            template("a", "x"),
            template("a", "y"),
            template("loop", "x"),
            for_each("parts", "{{ a }}", {"kind": "template", "template": "x"}, **{"as": "a"}),
        )
    )
    assert set(found) == {
        ("topic", "nodes.topic.id"),
        ("a", "nodes.a.id"),
        ("loop", "nodes.loop.id"),
        ("parts", "nodes.parts.as"),
    }


def test_an_unknown_name_comes_with_a_suggestion() -> None:
    found = problems(engine(generate("outline", "On {{ topc }}")))
    assert (
        found[("outline", "nodes.outline.prompt")]
        == "'topc' is neither an input nor a node; did you mean topic?"
    )


def test_names_that_a_template_makes_itself_are_known() -> None:
    text = "{% set n = 1 %}{% for x in range(n) %}{{ loop.index }}{{ x }}{% endfor %}"
    validate_engine(engine(template("a", text)), MODELS)


def test_the_item_is_known_inside_its_loop_only() -> None:
    loop = for_each("parts", "{{ item }}", {"kind": "template", "template": "{{ item }}{{ index }}"})
    assert set(problems(engine(loop))) == {("parts", "nodes.parts.items")}


def test_a_template_that_can_not_be_parsed_names_its_line() -> None:
    found = problems(engine(template("a", "fine\n{% for %}")))
    assert found[("a", "nodes.a.template")].startswith("line 2: ")


@pytest.mark.parametrize("items", ["topic", "{{ topic }} {{ topic }}", "x {{ topic }}", "{{ }}", ""])
def test_items_must_be_one_expression(items: str) -> None:
    assert set(problems(engine(for_each("parts", items)))) == {("parts", "nodes.parts.items")}


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 3000 + ")" * 3000 + " }}",
        "{{ " + "9" * 5000 + " }}",
        "{% for x in topic %}" * 25 + "{% endfor %}" * 25,
        "{% include 'x' %}",
    ],
    ids=["parentheses", "digits", "blocks", "include"],
)
def test_templates_that_would_fail_when_run_are_refused(text: str) -> None:
    assert set(problems(engine(template("a", text)))) == {("a", "nodes.a.template")}


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text", ["{{ 9**(9**9) }}", "{% if 9**(9**9) %}{% endif %}", "{{ 'a'|center(10**12) }}"]
)
def test_nothing_is_computed_while_validating(text: str) -> None:
    validate_engine(engine(template("a", text)), MODELS)


def test_cycles_are_named() -> None:
    found = problems(
        engine(template("a", "{{ c }}"), template("b", "{{ a }}"), template("c", "", after=["b"]))
    )
    ways = ("a -> c -> b -> a", "b -> a -> c -> b", "c -> b -> a -> c")
    assert set(found.values()) <= {f"waits for itself: {way}" for way in ways}


def test_a_node_that_waits_for_itself() -> None:
    assert problems(engine(template("a", "{{ a }}"))) == {("a", "nodes.a"): "waits for itself"}


def test_unknown_after_and_output() -> None:
    found = problems(engine(template("part", "x", after=["pat"]), output="prat"))
    assert found == {
        ("part", "nodes.part.after"): "there is no node 'pat'; did you mean part?",
        (None, "output"): "there is no node 'prat'; did you mean part?",
    }


def test_models_are_checked_where_they_are_known() -> None:
    definition = engine(generate("a", "x", model="gemini-3.8-flsh"))
    assert "did you mean gemini-3.8-flash?" in problems(definition)[("a", "nodes.a.model")]
    assert validate_engine(definition, None).id == "mine"


def test_a_retired_model_names_its_successor() -> None:
    found = problems(engine(generate("a", "x", model="old")), MODELS, {"old": "gemini-3.8-flash"})
    assert found == {("a", "nodes.a.model"): "old is retired; its successor is gemini-3.8-flash"}


def branch(**changes: Any) -> dict[str, Any]:
    case = {"when": "{{ topic == 'tea' }}", "node": {"kind": "template", "template": "x"}}
    return {"id": "way", "kind": "branch", "cases": [case], **changes}


def repeat(**changes: Any) -> dict[str, Any]:
    node = {"kind": "template", "template": "{{ previous }}{{ index }}"}
    return {
        "id": "draft",
        "kind": "repeat",
        "node": node,
        "until": "{{ previous or index }}",
        "times": 2,
        **changes,
    }


def test_branches_and_repeats_are_read() -> None:
    both = engine(branch(**{"else": {"kind": "template", "template": "y"}}), repeat(after=["way"]))
    found = validate_engine(both, MODELS)
    assert [node.kind for node in found.nodes] == ["branch", "repeat"]
    assert validate_engine(json.loads(found.model_dump_json(by_alias=True)), MODELS) == found


def test_fields_inside_a_branch_are_named_without_marks_of_the_parser() -> None:
    cases = [
        {"when": "{{ topic }}", "node": {"kind": "generate", "model": "m", "promt": "x"}},
        {"wen": "{{ topic }}", "node": {"kind": "tmplate"}},
    ]
    assert problems(engine(branch(cases=cases, **{"else": {"kind": "template"}}, x=1))) == {
        ("way", "nodes.way.cases.0.node.prompt"): "is missing",
        ("way", "nodes.way.cases.0.node.promt"): "is not a field that is known here; did you mean prompt?",
        ("way", "nodes.way.cases.1.when"): "is missing",
        ("way", "nodes.way.cases.1.wen"): "is not a field that is known here; did you mean when?",
        (
            "way",
            "nodes.way.cases.1.node",
        ): "there is no kind 'tmplate', only generate, template; did you mean template?",
        ("way", "nodes.way.else.template"): "is missing",
        ("way", "nodes.way.x"): "is not a field that is known here",
    }


def test_a_branch_needs_a_case_and_a_repeat_a_bound() -> None:
    assert set(problems(engine(branch(cases=[])))) == {("way", "nodes.way.cases")}
    assert problems(engine(repeat(times=51))) == {("draft", "nodes.draft.times"): "must be at most 50"}


@pytest.mark.parametrize("until", ["no", "{{ index }} {{ index }}", "{{ previos }}", "{% if x %}{% endif %}"])
def test_conditions_are_one_expression_of_known_names(until: str) -> None:
    assert set(problems(engine(repeat(until=until)))) == {("draft", "nodes.draft.until")}


def test_the_round_before_is_known_inside_its_repeat_only() -> None:
    assert set(problems(engine(template("a", "{{ previous }}")))) == {("a", "nodes.a.template")}
    found = problems(engine(repeat(), template("previous", "{{ draft }}")))
    assert set(found) == {("draft", "nodes.draft.node")}


def test_models_are_checked_wherever_a_task_stands() -> None:
    task = {"kind": "generate", "model": "gemini-3.8-flsh", "prompt": "x", "output_schema": {"type": "obj"}}
    found = problems(engine(branch(**{"else": task}), fallback_model="old"), MODELS, {"old": "new"})
    assert found == {
        (
            "way",
            "nodes.way.else.model",
        ): "there is no model 'gemini-3.8-flsh'; did you mean gemini-3.8-flash?",
        ("way", "nodes.way.else.output_schema.type"): found[("way", "nodes.way.else.output_schema.type")],
        (None, "fallback_model"): "old is retired; its successor is new",
    }


def test_the_fallback_model_counts_as_used_and_travels_with_the_execution() -> None:
    found = validate_engine(engine(fallback_model="gemini-3.5-flash-lite"), MODELS)
    assert models_used(found.workflow()) == {"gemini-3.8-flash", "gemini-3.5-flash-lite"}
    plain = validate_engine(engine(template("a", "x"), fallback_model="gemini-3.8-flash"), MODELS)
    assert models_used(plain.workflow()) == set()


def test_nodes_that_the_output_does_not_need_are_told() -> None:
    found = problems(engine(template("a", "x"), template("b", "{{ a }}"), template("c", "y")))
    detail = "the output does not need it: name it in a template or in `after`, or take it out"
    assert found == {("a", "nodes.a"): detail, ("b", "nodes.b"): detail}


def test_size_and_depth_are_bounded() -> None:
    assert problems(engine(description="x" * 300_000)) == {
        (None, "definition"): "is larger than 262,144 characters"
    }
    assert problems(engine(description="é" * 140_000)) == {(None, "definition"): "is larger than 256 KiB"}
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert list(problems(engine(description=deep)).values()) == ["is nested more than 64 deep"]
    itself: dict[str, Any] = {}
    itself["again"] = itself
    assert list(problems(engine(description=itself)).values()) == ["is nested more than 64 deep"]


@pytest.mark.parametrize(
    "value", ["\0", "\ud800", 2**70, float("nan"), float("inf"), b"x", {1: 2}, (1,), {"\0": 1}]
)
def test_what_can_not_be_stored_is_refused(value: object) -> None:
    assert set(problems(engine(description=value))) == {(None, "description")}


def test_problems_are_bounded() -> None:
    text = "".join(f"{{{{ name{n} }}}}" for n in range(500))
    with pytest.raises(InvalidDefinition) as refused:
        validate_engine(engine(template("a", text)), MODELS)
    assert len(refused.value.problems) == 100
