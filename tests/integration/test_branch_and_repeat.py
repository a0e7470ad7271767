"""Branches and repeats on a real executor: their order, their values, and what a hand-back leaves of them."""

import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.events import NodeCompleted
from shared.execution import NodeStatus, Status
from shared.ids import new_id
from shared.validation import check_input, validate_engine
from tests.support.definitions import one
from tests.support.engines_page import EXAMPLES, GIVEN, MODELS
from tests.support.make import MODEL, requested
from tests.support.world import World, world


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        made.executor()
        yield made


def improved(mark: str, times: int, options: str = "") -> dict[str, Any]:
    """Rounds, and a choice that depends on them."""
    draft = {"kind": "generate", "model": MODEL, "prompt": f"{mark} round {{{{ index }}}} {options}"}
    return {
        "nodes": [
            {"id": "draft", "kind": "repeat", "node": draft, "until": "{{ false }}", "times": times},
            {
                "id": "text",
                "kind": "branch",
                "cases": [
                    {"when": "{{ draft == '' }}", "node": {"kind": "template", "template": "nothing"}},
                    {"when": "{{ draft }}", "node": {"kind": "template", "template": "{{ draft }}!"}},
                ],
            },
        ],
        "output": "text",
    }


async def test_rounds_run_in_order_and_the_branch_has_the_text_of_its_case(here: World) -> None:
    mark = new_id()
    key = await here.request(improved(mark, times=3, options="[[standin words=3]]"))
    state = await here.ended(key)
    assert (state.status, state.anomalies) == (Status.COMPLETED, ())
    order = [
        recorded.event.node
        for recorded in await here.history(key)
        if isinstance(recorded.event, NodeCompleted)
    ]
    assert order == ["draft/0", "draft/1", "draft/2", "draft", "text/1", "text"]
    last, draft, text = (state.nodes[node].output for node in ("draft/2", "draft", "text"))
    assert last is not None
    assert draft == last
    assert text is not None
    assert text.text == f"{last.text}!"
    assert len(await here.calls(mark)) == 3


async def test_finished_rounds_are_kept_when_another_executor_goes_on(here: World) -> None:
    mark = new_id()
    key = await here.request(improved(mark, times=3, options="[[standin words=20 chunk_ms=30]]"))
    await here.heard(key, "node_started", "draft/1")
    here.executor()
    await here.executors[0].ended(signal.SIGTERM)
    state = await here.ended(key)
    assert (state.status, state.anomalies) == (Status.COMPLETED, ())
    assert all(node.status is NodeStatus.COMPLETED for node in state.nodes.values())
    assert len(await here.calls(f"{mark} round 0")) == 1
    assert state.attempt == 2


async def test_a_condition_that_can_not_be_worked_out_fails_with_its_node(here: World) -> None:
    definition = one("x")
    task = {"kind": "template", "template": "x"}
    case = {"when": "{{ text.nothing }}", "node": task}
    definition["nodes"].append({"id": "way", "kind": "branch", "cases": [case]})
    state = await here.ended(await here.request(definition))
    assert state.error is not None
    assert (state.error.code, state.error.node) == ("template_error", "way")


async def test_an_example_of_the_docs_runs_to_its_end(here: World) -> None:
    engine = validate_engine(next(each for each in EXAMPLES if each["id"] == "reply"), MODELS)
    values, _ = check_input(engine.inputs, GIVEN["reply"])
    definition = engine.workflow().model_dump(mode="json", by_alias=True, exclude_none=True)
    body = requested(definition, input=values).body
    state = await here.ended(await here.request(definition, body=body))
    assert (state.status, state.output) == (Status.COMPLETED, "reply")
