"""What no executor can read, or none can begin, is ended as failed: nobody waits for it for ever."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from nats.js.api import ConsumerInfo

from services.executor import claim, evidence, unreadable, worker
from shared import events as ev
from shared import subjects
from shared.execution import Status
from shared.heartbeat import Heartbeat
from shared.ids import new_id
from shared.log import Outline
from shared.messages import GUARD, GUARD_SUBJECT
from tests.support.definitions import one
from tests.support.make import USER, started
from tests.support.world import SECONDS, World, executing, world


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        yield made


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
    info: ConsumerInfo = await here.nc.jetstream().consumer_info(subjects.EXECUTIONS, "now")
    return info


async def _delivered(here: World) -> int:
    delivered = (await _now(here)).delivered
    assert delivered is not None
    return delivered.consumer_seq


async def outlined(here: World, execution_id: str) -> Outline:
    found = await here.log.outline(execution_id)
    assert found is not None
    return found


async def failed(here: World, execution_id: str) -> ev.Recorded:
    """Waits for that end; the history before it can not be read."""
    async with asyncio.timeout(SECONDS):
        while (await outlined(here, execution_id)).last.keys() != {"requested", "failed"}:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    end = await here.log.last(execution_id)
    assert end is not None
    return end


@pytest.mark.parametrize("data", [b"{}", b"no json", b'{"type": "requested", "version": 9}'])
async def test_what_no_release_can_read_ends_as_failed(
    here: World, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setattr(worker, "UNREADABLE_SECONDS", 0.05)
    monkeypatch.setattr(unreadable, "ROLLOUT_SECONDS", 0.1)
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
    key = new_id()
    seq = await store(here, key, b"{}")
    async with executing(here):
        assert (await here.ended(await here.request(one("short")))).status is Status.COMPLETED
    assert (await outlined(here, key)).last == {"requested": seq}


async def test_what_somebody_has_begun_is_never_ended_by_one_who_can_not_read_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "UNREADABLE_SECONDS", 0.02)
    monkeypatch.setattr(unreadable, "ROLLOUT_SECONDS", 0.0)
    key = new_id()
    begun = await here.log.append(key, started(), await store(here, key, b"{}"))
    async with executing(here):
        async with asyncio.timeout(SECONDS):
            while await _delivered(here) < 5:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    assert (await outlined(here, key)).last_seq == begun


async def test_a_stop_of_what_somebody_has_begun_and_nobody_can_read_ends_it_once_nobody_lists_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "UNREADABLE_SECONDS", 0.02)
    monkeypatch.setattr(unreadable, "ROLLOUT_SECONDS", 0.0)
    monkeypatch.setattr(evidence, "enough", lambda _: 0.0)
    monkeypatch.setattr(evidence, "LOOK_SECONDS", 0.0)
    key = new_id()
    begun = await here.log.append(key, started(), await store(here, key, b"{}"))
    asked = await here.log.append(key, ev.StopRequested(by=USER), begun)
    lists_it = lambda: {"executions": [{"id": key}]}  # noqa: E731
    beat = partial(Heartbeat, here.nc.jetstream(), instance=new_id(), interval=0.05)
    owner = beat(service="executor", snapshot=lists_it)
    somebody = beat(service="janitor", instance=new_id())  # whose evidence is relied on
    async with somebody, executing(here):
        async with owner:
            async with asyncio.timeout(SECONDS):
                while await _delivered(here) < 60:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)
            assert (await outlined(here, key)).last_seq == asked
        async with asyncio.timeout(SECONDS):
            while not (await outlined(here, key)).over:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    end = await here.log.last(key)
    assert end is not None
    assert isinstance(end.event, ev.ExecutionFailed)
    assert end.event.error.code == "unreadable"


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
