"""Whatever is given, a definition is either refused with problems, or makes an engine that can be planned."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dependencies import dependencies
from shared.validation import InvalidDefinition, Problem, check_input, validate_engine
from shared.workflow import Engine, Input

LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
NAMES = st.sampled_from(["a", "b", "c", "topic", "item", "previous", "range", "loop", "A"])
TEXTS = (
    st.builds("{{{{ {} }}}}".format, NAMES)
    | st.builds("{{% for x in {} %}}{{{{ x.{} }}}}{{% endfor %}}".format, NAMES, NAMES)
    | st.text("{}%# abx.|()[]'\n", max_size=30)
)
SCHEMAS = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(["object", "x", 1]), "$ref": st.just("#"), "items": JSON}
)
TASKS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["generate", "template"])},
    optional={
        "model": st.just("m"),
        "prompt": TEXTS,
        "template": TEXTS,
        "output_schema": SCHEMAS,
        "system": TEXTS,
    },
)
CASES = st.fixed_dictionaries({"when": TEXTS | JSON, "node": TASKS | JSON}, optional={"x": LEAVES})
NODES = st.fixed_dictionaries(
    {"id": NAMES | LEAVES, "kind": st.sampled_from(["generate", "template", "for_each", "branch", "repeat", "x"])},
    optional={
        "model": st.just("m"), "prompt": TEXTS, "template": TEXTS, "items": TEXTS, "as": NAMES, "node": TASKS | JSON,
        "after": st.lists(NAMES, max_size=2) | JSON, "concurrency": LEAVES, "until": TEXTS, "times": st.just(2) | LEAVES,
        "cases": st.lists(CASES, max_size=2) | JSON, "else": TASKS | JSON,
    },
)  # fmt: skip
INPUTS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {}, optional={"type": st.sampled_from(["text", "number", "choice", "list", 3]), "default": JSON, "choices": JSON,
                      "minimum": LEAVES, "maximum": LEAVES, "max_length": LEAVES, "required": LEAVES}
    ) | JSON,
    max_size=3,
)  # fmt: skip
DEFINITIONS = st.fixed_dictionaries(
    {
        "id": st.just("x"),
        "name": st.just("X"),
        "nodes": st.lists(NODES | JSON, max_size=4) | JSON,
        "output": NAMES,
    },
    optional={
        "inputs": INPUTS,
        "limits": JSON,
        "description": LEAVES,
        "extra": JSON,
        "fallback_model": st.just("m") | LEAVES,
    },
)
GOOD_NODES = st.builds(lambda n, t: {"id": n, "kind": "template", "template": t}, NAMES, TEXTS)
GOOD = st.builds(
    lambda nodes, output: {"id": "x", "name": "X", "inputs": {"topic": {}}, "nodes": nodes, "output": output},
    st.lists(GOOD_NODES, min_size=1, max_size=4), NAMES,
)  # fmt: skip


def attempt(definition: object) -> tuple[Engine | None, tuple[Problem, ...]]:
    try:
        return validate_engine(definition, {"m"}), ()
    except InvalidDefinition as refused:
        return None, refused.problems


@settings(max_examples=400, deadline=None)
@given(JSON | DEFINITIONS | GOOD)
def test_validation_refuses_or_gives_what_can_be_planned(definition: object) -> None:
    engine, problems = attempt(definition)
    if engine is None:
        assert problems
        assert all(p.field and p.detail for p in problems)
        return
    assert engine.output in dependencies(engine)
    again = json.loads(engine.model_dump_json(by_alias=True, exclude_unset=True))
    assert Engine.model_validate(again) == engine


SPECS = st.builds(
    Input,
    type=st.sampled_from(["text", "long_text", "number", "choice", "list"]),
    required=st.booleans(),
    choices=st.none() | st.just(("a", "b")),
    max_length=st.none() | st.integers(1, 5),
    minimum=st.none() | st.floats(allow_nan=False),
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, SPECS, max_size=3), JSON | st.dictionaries(NAMES, JSON, max_size=3))
def test_inputs_are_refused_or_complete(specs: dict[str, Input], given_input: object) -> None:
    values, problems = check_input(specs, given_input)
    if not problems:
        assert values.keys() == specs.keys()
        json.dumps(values, allow_nan=False).encode()
