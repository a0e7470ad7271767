"""Whatever a valid workflow looks like, planning it step by step comes to an end, and runs each node once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.executor.planner import CallModel, CloseItems, GiveText, OpenItems, Program, plan, value_of
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


@given(workflows(), st.randoms(use_true_random=False))
def test_planning_ends_and_runs_every_node_once(definition: dict[str, Any], random: Any) -> None:
    definition_ = workflow(definition)
    program = Program(workflow=definition_, inputs={}, waits_for=dependencies(definition_))
    events: list[ev.AnyEvent] = [requested(definition), started()]
    values: dict[str, Any] = {}
    running: dict[str, CallModel] = {}
    began: list[str] = []
    for _ in range(200):
        state = fold(history(*events))
        assert state is not None
        result = plan(program, state, values, frozenset(running))
        assert result.error is None
        if result.output is not None:
            assert not running
            assert len(began) == len(set(began))
            assert all(state.completed(node.id) for node in definition_.nodes)
            return
        for step in result.steps:
            match step:
                case OpenItems():
                    events.append(
                        ev.NodeStarted(
                            attempt=1, node=step.node, kind="for_each", node_attempt=1, items=step.items
                        )
                    )
                case CloseItems() | GiveText():
                    began.append(step.node)
                    events.append(_completed(step.node))
                    values[step.node] = value_of("t", structured=False)
                case CallModel():
                    began.append(step.node)
                    running[step.node] = step
        if running and not any(isinstance(step, OpenItems) for step in result.steps):
            done = random.choice(sorted(running))
            del running[done]
            events.append(_completed(done))
            values[done] = "t"
    raise AssertionError("it never ended")


def _completed(node: str) -> ev.NodeCompleted:
    return ev.NodeCompleted(
        attempt=1, node=node, kind="x", node_attempt=1, output=ev.TextRef(text="t", characters=1)
    )
