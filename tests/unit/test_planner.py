"""The planner: what may start now, what waits, and when it is over."""

from typing import Any

from services.executor.planner import CallModel, CloseItems, GiveText, OpenItems, Plan, Program, plan
from shared import events as ev
from shared.dependencies import dependencies
from shared.execution import ExecutionState
from shared.workflow import Workflow
from tests.support.make import MODEL, folded, history, node_completed, requested, started, workflow

SCHEMA = {"type": "object"}


def generate(node_id: str, prompt: str, **more: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "generate", "model": MODEL, "prompt": prompt, **more}


def template(node_id: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": node_id, "kind": "template", "template": text, **more}


def loop(node_id: str, items: str, prompt: str, concurrency: int = 2) -> dict[str, Any]:
    node = {"kind": "generate", "model": MODEL, "prompt": prompt}
    return {
        "id": node_id,
        "kind": "for_each",
        "items": items,
        "as": "it",
        "concurrency": concurrency,
        "node": node,
    }


def program(*nodes: dict[str, Any], output: str | None = None, **inputs: Any) -> Program:
    definition: Workflow = workflow({"nodes": list(nodes), "output": output or nodes[-1]["id"]})
    return Program(workflow=definition, inputs=inputs, waits_for=dependencies(definition))


def after(*events: ev.AnyEvent) -> ExecutionState:
    return folded(history(requested(), started(), *events))


def planned(prog: Program, state: ExecutionState, busy: frozenset[str] = frozenset(), **values: Any) -> Plan:
    return plan(prog, state, {key.replace("__", "/"): value for key, value in values.items()}, busy)


def opened(node: str, items: int) -> ev.NodeStarted:
    return ev.NodeStarted(attempt=1, node=node, kind="for_each", node_attempt=1, items=items)


def test_independent_nodes_start_together() -> None:
    result = planned(
        program(generate("a", "x"), generate("b", "y"), template("c", "{{ a }}{{ b }}")), after()
    )
    assert [step.node for step in result.steps] == ["a", "b"]


def test_a_node_waits_for_every_node_that_its_template_names() -> None:
    prog = program(generate("a", "x"), generate("b", "y"), template("c", "{{ a }}{{ b }}"))
    result = planned(prog, after(node_completed("a")), busy=frozenset({"b"}), a="A")
    assert result == Plan(steps=())


def test_a_node_waits_for_its_explicit_after() -> None:
    prog = program(generate("a", "x"), generate("b", "y", after=["a"]))
    assert [step.node for step in planned(prog, after()).steps] == ["a"]


def test_a_template_sees_inputs_and_the_values_of_finished_nodes() -> None:
    prog = program(generate("a", "x"), template("c", "{{ topic }}: {{ a.title }}"), topic="Rivers")
    result = planned(prog, after(node_completed("a")), a={"title": "Nile"})
    assert result.steps == (GiveText(node="c", node_attempt=1, text="Rivers: Nile"),)


def test_a_node_that_was_interrupted_starts_as_the_next_attempt() -> None:
    state = after(ev.NodeStarted(attempt=1, node="a", kind="generate", node_attempt=1), started(2, "other"))
    (step,) = planned(program(generate("a", "x")), state).steps
    assert isinstance(step, CallModel)
    assert step.node_attempt == 2


def test_a_loop_is_opened_with_the_number_of_its_items() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}"), topics=["a", "b", "c"])
    assert planned(prog, after()).steps == (OpenItems(node="parts", node_attempt=1, items=3),)


def test_a_loop_never_runs_more_items_at_once_than_its_concurrency() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}", 2), topics=["a", "b", "c"])
    first = planned(prog, after(opened("parts", 3)))
    assert [step.node for step in first.steps] == ["parts/0", "parts/1"]
    second = planned(
        prog, after(opened("parts", 3), node_completed("parts/0")), frozenset({"parts/1"}), parts__0="A"
    )
    assert [step.node for step in second.steps] == ["parts/2"]


def test_a_loop_is_closed_after_its_last_item() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}"), topics=["a"])
    result = planned(prog, after(opened("parts", 1), node_completed("parts/0")), parts__0="A")
    assert result.steps == (CloseItems(node="parts", node_attempt=1),)


def test_a_loop_over_nothing_is_opened_and_closed() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}"), topics=[])
    assert planned(prog, after(opened("parts", 0))).steps == (CloseItems(node="parts", node_attempt=1),)


def test_a_loop_over_something_that_is_no_list_fails_with_its_node() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}"), topics="abc")
    error = planned(prog, after()).error
    assert error is not None
    assert (error.code, error.node) == ("template_error", "parts")


def test_a_finished_loop_is_a_list_in_templates_in_the_order_of_its_items() -> None:
    prog = program(
        loop("parts", "{{ topics }}", "{{ it }}"), template("t", "{{ parts | join('-') }}"), topics=["a", "b"]
    )
    state = after(
        opened("parts", 2),
        node_completed("parts/1"),
        node_completed("parts/0"),
        node_completed("parts", kind="for_each", usage=()),
    )
    assert planned(prog, state, parts__0="A", parts__1="B").steps == (
        GiveText(node="t", node_attempt=1, text="A-B"),
    )


def test_a_template_that_names_a_missing_attribute_fails_the_execution_with_its_node() -> None:
    prog = program(generate("a", "x"), template("c", "{{ a.nothing }}"))
    error = planned(prog, after(node_completed("a")), a={"title": "x"}).error
    assert error is not None
    assert error.node == "c"


def test_it_is_complete_when_every_node_is() -> None:
    prog = program(generate("a", "x"), generate("b", "y"), output="a")
    assert planned(prog, after(node_completed("a")), a="A").output is None
    assert planned(prog, after(node_completed("a"), node_completed("b")), a="A", b="B").output == "a"


def test_nodes_that_wait_for_each_other_end_it_instead_of_hanging() -> None:
    error = planned(program(template("a", "{{ b }}"), template("b", "{{ a }}")), after()).error
    assert error is not None
    assert error.code == "deadlock"
