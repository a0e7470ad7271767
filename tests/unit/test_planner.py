"""The planner: what may start now, what waits, and when it is over."""

from typing import Any, get_args

from services.executor.nodes.begin import RUNNERS
from services.executor.planner import Plan, Program, plan
from services.executor.rules.registry import RULES
from services.executor.steps import CallModel, Close, GiveText, Open, Step
from shared import events as ev
from shared.dependencies import dependencies
from shared.execution import ExecutionState
from shared.workflow import NODE_KINDS, Workflow
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


def opened(node: str, items: int | None = None, kind: str = "for_each") -> ev.NodeStarted:
    return ev.NodeStarted(attempt=1, node=node, kind=kind, node_attempt=1, items=items)


def branch(*conditions: str, otherwise: bool = True) -> dict[str, Any]:
    cases = [
        {"when": when, "node": {"kind": "template", "template": f"case {number}"}}
        for number, when in enumerate(conditions)
    ]
    other = {"else": {"kind": "template", "template": "else"}} if otherwise else {}
    return {"id": "tone", "kind": "branch", "cases": cases, **other}


def repeat(until: str, times: int = 3) -> dict[str, Any]:
    node = {"kind": "generate", "model": MODEL, "prompt": "{{ index }}: {{ previous }}"}
    return {"id": "draft", "kind": "repeat", "node": node, "until": until, "times": times}


def test_every_kind_of_node_has_a_rule_and_every_step_a_runner() -> None:
    assert RULES.keys() == NODE_KINDS.keys()
    assert RUNNERS.keys() == set(get_args(Step))


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
    assert planned(prog, after()).steps == (Open(node="parts", node_attempt=1, kind="for_each", items=3),)


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
    assert result.steps == (Close(node="parts", node_attempt=1, kind="for_each"),)


def test_a_loop_over_nothing_is_opened_and_closed() -> None:
    prog = program(loop("parts", "{{ topics }}", "{{ it }}"), topics=[])
    assert planned(prog, after(opened("parts", 0))).steps == (
        Close(node="parts", node_attempt=1, kind="for_each"),
    )


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


def test_a_branch_runs_the_first_case_that_is_true_under_its_number() -> None:
    prog = program(branch("{{ words > 9 }}", "{{ words > 1 }}", "{{ true }}"), words=5)
    assert planned(prog, after()).steps == (Open(node="tone", node_attempt=1, kind="branch"),)
    assert planned(prog, after(opened("tone"))).steps == (
        GiveText(node="tone/1", node_attempt=1, text="case 1"),
    )


def test_the_else_of_a_branch_has_the_number_of_cases() -> None:
    prog = program(branch("{{ words > 9 }}", "{{ false }}"), words=5)
    assert planned(prog, after(opened("tone"))).steps == (
        GiveText(node="tone/2", node_attempt=1, text="else"),
    )


def test_a_branch_takes_over_the_text_of_its_case() -> None:
    state = after(opened("tone"), node_completed("tone/0"))
    prog = program(branch("{{ true }}"), template("t", "{{ tone }}!"))
    assert planned(prog, state, tone__0="A").steps == (
        Close(node="tone", node_attempt=1, kind="branch", text_of="tone/0"),
    )
    closed = after(opened("tone"), node_completed("tone/0"), node_completed("tone", kind="branch", usage=()))
    assert planned(prog, closed, tone__0="A").steps == (GiveText(node="t", node_attempt=1, text="A!"),)


def test_a_branch_without_a_true_case_and_without_else_is_the_empty_text() -> None:
    prog = program(branch("{{ false }}", otherwise=False), template("t", "<{{ tone }}>"))
    assert planned(prog, after(opened("tone"))).steps == (Close(node="tone", node_attempt=1, kind="branch"),)
    closed = after(opened("tone"), node_completed("tone", kind="branch", usage=()))
    assert planned(prog, closed).steps == (GiveText(node="t", node_attempt=1, text="<>"),)


def test_a_case_that_has_begun_stays_chosen_after_a_takeover() -> None:
    state = after(opened("tone"), opened("tone/1", kind="generate"), started(2, "other"))
    prog = program(branch("{{ true }}", "{{ true }}"))
    assert planned(prog, state).steps == (Open(node="tone", node_attempt=2, kind="branch"),)
    again = folded(
        history(requested(), started(), opened("tone"), opened("tone/1", kind="generate"), started(2, "other"),
                opened("tone").model_copy(update={"attempt": 2, "node_attempt": 2}))
    )  # fmt: skip
    assert planned(prog, again).steps == (GiveText(node="tone/1", node_attempt=2, text="case 1"),)


def test_a_condition_that_fails_names_its_branch() -> None:
    error = planned(program(branch("{{ words.nothing }}"), words=5), after(opened("tone"))).error
    assert error is not None
    assert (error.code, error.node) == ("template_error", "tone")


def test_the_first_round_of_a_repeat_has_nothing_before_it() -> None:
    (step,) = planned(program(repeat("{{ false }}")), after(opened("draft"))).steps
    assert isinstance(step, CallModel)
    assert (step.node, step.prompt.text) == ("draft/0", "0: ")


def test_the_next_round_sees_the_one_before() -> None:
    (step,) = planned(
        program(repeat("{{ previous == 'good' }}")),
        after(opened("draft"), node_completed("draft/0")),
        draft__0="bad",
    ).steps
    assert isinstance(step, CallModel)
    assert (step.node, step.prompt.text) == ("draft/1", "1: bad")


def test_a_repeat_ends_with_the_round_that_meets_its_condition() -> None:
    prog = program(repeat("{{ previous == 'good' and index == 1 }}"), template("t", "{{ draft }}"))
    happened = (opened("draft"), node_completed("draft/0"), node_completed("draft/1"))
    assert planned(prog, after(*happened), draft__0="good", draft__1="good").steps == (
        Close(node="draft", node_attempt=1, kind="repeat", text_of="draft/1"),
    )
    closed = after(*happened, node_completed("draft", kind="repeat", usage=()))
    assert planned(prog, closed, draft__0="bad", draft__1="good").steps == (
        GiveText(node="t", node_attempt=1, text="good"),
    )


def test_a_repeat_ends_after_its_last_round_whatever_its_condition_says() -> None:
    happened = (opened("draft"), node_completed("draft/0"), node_completed("draft/1"))
    result = planned(
        program(repeat("{{ false }}", times=2)), after(*happened), draft__0="bad", draft__1="bad"
    )
    assert result.steps == (Close(node="draft", node_attempt=1, kind="repeat", text_of="draft/1"),)


def test_a_round_that_runs_is_waited_for() -> None:
    assert planned(program(repeat("{{ true }}")), after(opened("draft")), frozenset({"draft/0"})) == Plan()
