"""Whatever a valid workflow looks like, and however often its executor is lost, planning it step by step comes to an
end, and no node runs again once it is completed.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.executor.planner import (
    CallModel,
    CloseItems,
    GiveText,
    OpenItems,
    Program,
    Step,
    plan,
    value_of,
)
from shared import events as ev
from shared.dependencies import dependencies
from shared.execution import fold
from tests.support.make import MODEL, history, requested, started, workflow

NODE_IDS = ["a", "b", "c", "d", "e"]


@st.composite
def workflows(draw: st.DrawFn) -> dict[str, Any]:
    """Nodes that name only earlier ones, in any order of definition."""
    ids = NODE_IDS[: draw(st.integers(1, len(NODE_IDS)))]
    nodes: list[dict[str, Any]] = []
    for index, key in enumerate(ids):
        named = draw(st.lists(st.sampled_from(ids[:index]), unique=True)) if index else []
        text = " ".join(f"{{{{ {name} }}}}" for name in named) or "x"
        kind = draw(st.sampled_from(["generate", "template", "for_each"]))
        if kind == "template":
            nodes.append({"id": key, "kind": "template", "template": text})
        elif kind == "generate":
            nodes.append({"id": key, "kind": "generate", "model": MODEL, "prompt": text})
        else:
            count = draw(st.integers(0, 4))
            task = {"kind": "generate", "model": MODEL, "prompt": "{{ item }} " + text}
            items = f"{{{{ range({count}) | list }}}}"
            width = draw(st.integers(1, 3))
            nodes.append({"id": key, "kind": "for_each", "items": items, "concurrency": width, "node": task})
    return {"nodes": draw(st.permutations(nodes)), "output": ids[-1]}


@given(workflows(), st.randoms(use_true_random=False), st.sets(st.integers(1, 40), max_size=5))
def test_planning_ends_and_no_completed_node_runs_again(
    definition: dict[str, Any], random: Any, losses: set[int]
) -> None:
    definition_ = workflow(definition)
    program = Program(workflow=definition_, inputs={}, waits_for=dependencies(definition_))
    events: list[ev.AnyEvent] = [requested(definition), started()]
    values: dict[str, Any] = {}
    running: dict[str, CallModel] = {}
    attempt = 1
    for turn in range(300):
        if turn in losses:  # another executor knows only the log
            attempt += 1
            events.append(started(attempt, f"executor {attempt}"))
            program = Program(workflow=definition_, inputs={}, waits_for=dependencies(definition_))
            running.clear()
        state = fold(history(*events))
        assert state is not None
        result = plan(program, state, values, frozenset(running))
        assert result.error is None
        if result.output is not None:
            assert not running
            assert state.anomalies == ()
            completed = [event.node for event in events if isinstance(event, ev.NodeCompleted)]
            assert len(completed) == len(set(completed))
            assert all(state.completed(node.id) for node in definition_.nodes)
            return
        for step in result.steps:
            assert not state.completed(step.node)
            match step:
                case OpenItems():
                    events.append(_started(step, attempt, "for_each", items=step.items))
                case CloseItems() | GiveText():
                    events.append(_completed(step, attempt))
                    values[step.node] = value_of("t", structured=False)
                case CallModel():
                    events.append(_started(step, attempt, "generate"))
                    running[step.node] = step
        if running and not any(isinstance(step, OpenItems) for step in result.steps):
            done = random.choice(sorted(running))
            events.append(_completed(running.pop(done), attempt))
            values[done] = "t"
    raise AssertionError("it never ended")


def _started(step: Step, attempt: int, kind: str, **more: Any) -> ev.NodeStarted:
    return ev.NodeStarted(attempt=attempt, node=step.node, kind=kind, node_attempt=step.node_attempt, **more)


def _completed(step: Step, attempt: int) -> ev.NodeCompleted:
    output = ev.TextRef(text="t", characters=1)
    return ev.NodeCompleted(
        attempt=attempt, node=step.node, kind="x", node_attempt=step.node_attempt, output=output
    )
