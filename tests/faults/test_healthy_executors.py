"""Nobody takes over what runs, however long its calls are: two thousand executions, each run once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.execution import Status
from shared.ids import new_id
from tests.support.definitions import one
from tests.support.world import World, world

EXECUTIONS = 2_000
LONG = 60
ACK_WAIT = 1.0
"""A call of 30 s is then what one of three minutes is with the usual setting."""
AT_ONCE = 150


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), {"ack_wait_seconds": ACK_WAIT}) as made:
        yield made


async def test_no_healthy_execution_is_taken_over(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        here.executor(LEKHIKA_ACK_WAIT_SECONDS=str(ACK_WAIT), LEKHIKA_SLOTS="100")
    room = asyncio.Semaphore(AT_ONCE)

    async def run(options: str) -> tuple[Status, int, tuple[str, ...]]:
        async with room:
            state = await here.ended(await here.request(one(f"{new_id()} [[standin {options}]]")))
        return state.status, state.attempt, state.anomalies

    long = ["first_ms=10 chunk_ms=500 chunks=60"] * (LONG // 2) + ["first_ms=30000 chunks=2"] * (LONG // 2)
    short = ["first_ms=5 chunk_ms=5 words=10"] * (EXECUTIONS - LONG)
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(run(options)) for options in [*long, *short]]
    assert {task.result() for task in runs} == {(Status.COMPLETED, 1, ())}
    with capsys.disabled():
        print(
            f"\n{EXECUTIONS} executions, {LONG} of them with calls of {30 / ACK_WAIT:.0f} ack_waits: no takeover"
        )
