"""Executors that are killed, hang, or lose NATS: nothing is lost, no finished node runs again, no healthy one is
taken over.
"""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from shared import events as ev
from shared.execution import Status
from shared.ids import new_id
from shared.usage import Certainty
from tests.support.definitions import two_steps
from tests.support.world import World, world

ACK_WAIT = 5.0
QUICK = {"LEKHIKA_ACK_WAIT_SECONDS": str(ACK_WAIT)}


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), {"ack_wait_seconds": ACK_WAIT}) as made:
        yield made


async def begun(here: World, mark: str, options: str) -> str:
    """An execution in the middle of its second node."""
    key = await here.request(two_steps(mark, options))
    await here.heard(key, "node_started", "second")
    await here.writing(key, "second")
    return key


async def test_a_killed_executors_work_goes_on_from_its_last_finished_node(here: World) -> None:
    doomed = here.executor(**QUICK)
    marks = [new_id() for _ in range(5)]
    keys = [await begun(here, mark, "chunk_ms=50 chunks=60") for mark in marks]
    here.executor(**QUICK)
    await doomed.ended(signal.SIGKILL)
    for key, mark in zip(keys, marks, strict=True):
        state = await here.ended(key)
        assert (state.status, state.attempt, state.anomalies) == (Status.COMPLETED, 2, ())
        assert len(await here.calls(f"{mark} first")) == 1
        assert len(await here.calls(f"{mark} second")) == 2
        # what the dead attempt had used is there, and is said to be an estimate
        assert state.tokens.certainty is Certainty.ESTIMATED
        assert state.tokens.output > sum(u.tokens.output for node in state.nodes.values() for u in node.usage)


async def test_a_stop_of_a_dead_executors_work_ends_without_a_new_call(here: World) -> None:
    doomed = here.executor(**QUICK)
    mark = new_id()
    key = await begun(here, mark, "chunk_ms=50 chunks=400")
    await doomed.ended(signal.SIGKILL)
    await here.stop(key)
    here.executor(**QUICK)
    state = await here.ended(key)
    assert (state.status, state.attempt) == (Status.STOPPED, 1)
    assert len(await here.calls(f"{mark} second")) == 1
    assert state.partials


async def test_an_executor_that_hung_is_fenced_when_it_comes_back(here: World) -> None:
    frozen = here.executor(**QUICK)
    mark = new_id()
    key = await begun(here, mark, "chunk_ms=100 chunks=100")
    frozen.process.send_signal(signal.SIGSTOP)
    here.executor(**QUICK)
    await here.heard(key, "started")  # the first one
    while (await here.state(key)).attempt < 2:  # noqa: ASYNC110 - the fact is in the log, which is asked
        await asyncio.sleep(0.2)
    frozen.process.send_signal(signal.SIGCONT)
    state = await here.ended(key)
    assert (state.status, state.attempt, state.anomalies) == (Status.COMPLETED, 2, ())
    ends = [r for r in await here.history(key) if r.event.type in ev.TERMINAL_TYPES]
    assert len(ends) == 1


async def test_an_outage_of_nats_makes_nobody_take_over_what_runs(here: World) -> None:
    here.executor(**QUICK)
    here.executor(**QUICK)
    keys = [await begun(here, new_id(), "chunk_ms=200 chunks=150") for _ in range(6)]
    here.server.stop()
    await asyncio.sleep(13)  # longer than the time to live of a heartbeat
    here.server.start()
    for key in keys:
        state = await here.ended(key)
        assert (state.status, state.attempt, state.anomalies) == (Status.COMPLETED, 1, ())


async def test_a_long_call_is_never_taken_for_dead(here: World) -> None:
    here.executor(**QUICK)
    here.executor(**QUICK)
    key = await begun(here, new_id(), f"chunk_ms=500 chunks={int(ACK_WAIT * 2 * 4)}")
    state = await here.ended(key)
    assert (state.status, state.attempt) == (Status.COMPLETED, 1)
