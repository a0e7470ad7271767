"""What no executor can read, or none can begin, is ended as failed: nobody waits for it for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js.api import ConsumerInfo

from services.executor import claim, worker
from services.executor.app import Executor
from services.executor.settings import ExecutorSettings
from shared import events as ev
from shared import subjects
from shared.execution import Status
from shared.ids import new_id
from shared.messages import GUARD, GUARD_SUBJECT
from shared.nats import connect
from shared.service import Stop
from shared.tasks import cancel_and_wait, spawn
from tests.support.definitions import one
from tests.support.make import USER
from tests.support.world import SECONDS, World, world


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@asynccontextmanager
async def executing(here: World) -> AsyncIterator[None]:
    """An executor in this process, so that its patience can be shortened."""
    settings = ExecutorSettings(
        nats_url=here.server.url, gemini_api_key="stand-in", gemini_base_url=here.standin_url
    )
    client = await connect(here.server.url, "tester")
    executor = Executor(settings, client, Stop())
    intake = spawn(executor.intake.run(), name="intake")
    try:
        yield
    finally:
        await cancel_and_wait(intake)
        await executor.gemini.aclose()
        await client.close()


async def store(here: World, execution_id: str, data: bytes, after: int = 0) -> int:
    """Puts something into the log that this release never writes."""
    subject = subjects.event_subject(execution_id, "requested", "now", USER)
    guard = {GUARD: str(after), GUARD_SUBJECT: subjects.aggregate(execution_id)}
    return (await here.nc.jetstream().publish(subject, data, headers=guard)).seq


async def queue_is_empty(here: World) -> None:
    async with asyncio.timeout(SECONDS):
        while (info := await _now(here)).num_ack_pending or info.num_pending:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


async def _now(here: World) -> ConsumerInfo:
    return await here.nc.jetstream().consumer_info(subjects.EXECUTIONS, "now")


async def failed(here: World, execution_id: str) -> ev.Recorded:
    """Waits for that end; the history before it can not be read."""
    async with asyncio.timeout(SECONDS):
        while (await here.log.position(execution_id))[1] != "failed":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    end = await here.log.last(execution_id)
    assert end is not None
    return end


@pytest.mark.parametrize("data", [b"{}", b"no json", b'{"type": "requested", "version": 9}'])
async def test_what_no_release_can_read_ends_as_failed(
    here: World, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(worker, "UNREADABLE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "UNREADABLE_DELIVERIES", 3)
    key = new_id()
    seq = await store(here, key, data)
    async with executing(here):
        end = await failed(here, key)
        assert end.after == seq
        assert isinstance(end.event, ev.ExecutionFailed)
        assert (end.event.summary.user_id, end.event.error.code) == (USER, "unreadable")
        # the executor goes on with others, and nothing is left in the queue
        assert (await here.ended(await here.request(one("short")))).status is Status.COMPLETED
        await queue_is_empty(here)


async def test_what_can_not_be_read_yet_waits_for_a_release_that_can(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "UNREADABLE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "UNREADABLE_DELIVERIES", 10_000)
    key = new_id()
    seq = await store(here, key, b"{}")
    async with executing(here):
        assert (await here.ended(await here.request(one("short")))).status is Status.COMPLETED
    assert await here.log.position(key) == (seq, "requested")


async def test_what_is_handed_out_again_and_again_and_never_begins_is_ended(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "POISON_DELIVERIES", 4)
    key = await here.request(one("short"))
    for _ in range(3):  # as of executors that died of it
        pull = await here.nc.jetstream().pull_subscribe_bind("now", subjects.EXECUTIONS)
        (msg,) = await pull.fetch(1)
        await msg.nak()
        await pull.unsubscribe()
    async with executing(here):
        state = await here.ended(key)
    assert (state.status, state.attempt) == (Status.FAILED, 0)
    assert state.error is not None
    assert state.error.code == "poison"
