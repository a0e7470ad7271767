"""SIGTERM of a busy executor: it is gone within seconds, and what it ran goes on elsewhere from the last finished node."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from shared import events as ev
from shared.execution import Status
from shared.ids import new_id
from tests.support.definitions import two_steps
from tests.support.world import World, world

RUNNING = 50
GONE_SECONDS = 5.0
ACK_WAIT = 30.0
"""Far longer than a hand-back: what waited for it would show."""
MANY = {"LEKHIKA_SLOTS": "80", "LEKHIKA_ACK_WAIT_SECONDS": str(ACK_WAIT)}


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), {"ack_wait_seconds": ACK_WAIT}) as made:
        yield made


async def second_nodes_begun(here: World, marks: list[str]) -> list[str]:
    keys = [await here.request(two_steps(mark, "chunk_ms=200 chunks=100")) for mark in marks]
    for key in keys:
        await here.heard(key, "node_started", "second")
    return keys


async def test_fifty_running_executions_go_on_elsewhere(
    here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    leaving = here.executor(**MANY)
    marks = [new_id() for _ in range(RUNNING)]
    keys = await second_nodes_begun(here, marks)
    here.executor(**MANY)
    await here.living(2)
    asked = time.monotonic()
    assert await leaving.ended(signal.SIGTERM) == 0
    gone = time.monotonic() - asked
    assert gone < GONE_SECONDS
    waits = []
    for key, mark in zip(keys, marks, strict=True):
        state = await here.ended(key)
        assert (state.status, state.attempt, state.losses, state.anomalies) == (Status.COMPLETED, 2, 0, ())
        assert len(await here.calls(f"{mark} first")) == 1
        waits.append(await waited(here, key))
    assert max(waits) < ACK_WAIT / 2
    with capsys.disabled():
        print(
            f"\nhand-back of {RUNNING}: gone after {gone:.2f} s, going on elsewhere after {max(waits):.2f} s at most"
        )


async def waited(here: World, key: str) -> float:
    """Seconds from the hand-back to the next start."""
    times = {type(found.event): found.time for found in await here.history(key)}
    return (times[ev.ExecutionStarted] - times[ev.ExecutionReleased]).total_seconds()


async def test_an_executor_ends_in_time_though_the_log_is_away(here: World) -> None:
    leaving = here.executor(**MANY)
    keys = await second_nodes_begun(here, [new_id() for _ in range(5)])
    here.server.stop()
    asked = time.monotonic()
    await leaving.ended(signal.SIGTERM)
    assert time.monotonic() - asked < 2 * GONE_SECONDS
    here.server.start()
    here.executor(**MANY)
    states = await asyncio.gather(*(here.ended(key) for key in keys))
    assert {(state.status, state.anomalies) for state in states} == {(Status.COMPLETED, ())}
