"""What a server that is away must not cost: no attempt, no second run, no message that is left behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared import events as ev
from shared import subjects
from shared.artifacts import Artifacts
from shared.errors import LogFull, Unavailable
from shared.execution import Status
from shared.ids import new_id
from shared.log import ExecutionLog
from tests.support.definitions import one
from tests.support.make import USER
from tests.support.world import SECONDS, World, executing, world


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        yield made


async def queue_is_empty(here: World, lane: str) -> None:
    js, name = here.nc.jetstream(), subjects.lane_consumer(lane)
    async with asyncio.timeout(SECONDS):
        while (info := await js.consumer_info(subjects.EXECUTIONS, name)).num_ack_pending or info.num_pending:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_bucket_that_is_away_costs_no_attempt(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.patience.AGAIN_SECONDS", 0.01)
    real, failures = Artifacts.get_body, [Unavailable("away")] * 3

    async def sometimes(self: Artifacts, body: ev.RequestBody | ev.ArtifactRef) -> ev.RequestBody:
        if failures:
            raise failures.pop()
        return await real(self, body)

    monkeypatch.setattr(Artifacts, "get_body", sometimes)
    async with executing(here):
        state = await here.ended(await here.request(one("short")))
    assert (state.status, state.attempt, state.losses) == (Status.COMPLETED, 1, 0)


async def test_a_log_that_is_full_makes_nothing_poison(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.worker.LATER_SECONDS", 0.001)
    real, refusals = ExecutionLog.append, [LogFull("full")] * 100

    async def refusing(self: ExecutionLog, key: str, event: ev.AnyEvent, after: int, **more: object) -> int:
        if isinstance(event, ev.ExecutionStarted) and refusals:
            raise refusals.pop()
        return await real(self, key, event, after, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ExecutionLog, "append", refusing)
    async with executing(here):
        state = await here.ended(await here.request(one("short")))
    assert (state.status, state.attempt) == (Status.COMPLETED, 1)


async def test_what_was_promoted_runs_once_and_both_its_messages_are_settled(here: World) -> None:
    lane, mark = subjects.later_lane(USER), new_id()
    key = await here.request(one(f"{mark} [[standin chunks=20 chunk_ms=50]]"), lane=lane)
    promoted = ev.ExecutionRequeued(user_id=USER, lane="now", reason="promoted")
    await here.log.append(key, promoted, (await here.state(key)).last_seq)
    async with executing(here):
        state = await here.ended(key)
        for each in ("now", lane):
            await queue_is_empty(here, each)
    assert (state.status, state.attempt) == (Status.COMPLETED, 1)
    assert len(await here.calls(mark)) == 1
