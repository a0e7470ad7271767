"""What no event names is deleted from the bucket, once it is old enough; everything else stays."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from nats.js.errors import NotFoundError

from deploy.local.nats_server import NatsServer
from services.janitor import sweep
from services.janitor.sweep import AGE, BUCKET, Leftover, Sweeper
from shared import ending
from shared import events as ev
from shared.errors import Permanent
from shared.ids import new_id
from shared.jetstream import api
from shared.subjects import ARTIFACTS
from shared.tasks import cancel_and_wait
from tests.support.janitor_world import NODE, World, nats_server, postgres, world

__all__ = ["nats_server", "postgres", "world"]

LONG = "long" * 20_000


async def swept(world: World, *, later: timedelta) -> list[Leftover]:
    """What a sweep finds, and then deletes, as if so much time had passed."""
    sweeper, now = Sweeper(world.parts, may_act=lambda: True), datetime.now(UTC) + later
    found = [leftover async for leftover in sweeper.judge(now)]
    assert await sweeper.sweep(now)
    return found


async def is_listed(world: World, text: ev.TextRef) -> bool:
    """Without reading it: a reader whose artifact is just being deleted waits long for the rest of it."""
    assert text.ref is not None
    bucket = await world.parts.nc.jetstream().object_store(ARTIFACTS)
    try:
        return not (await bucket.get_info(text.ref.artifact)).deleted
    except NotFoundError:
        return False


async def is_there(world: World, text: ev.TextRef) -> bool:
    try:
        return bool(await world.parts.artifacts.get_text(text))
    except Permanent:
        return False


async def test_artifacts_that_no_event_names_are_deleted_after_an_hour(world: World) -> None:
    running = await world.execution(ev.ExecutionStarted(attempt=1, instance="x"))
    ended = await world.ended()
    store = world.parts.artifacts.put_text
    texts = {
        "of a running one": await store(running, LONG),
        "of an ended one": await store(ended, LONG),
        "of nobody": await store(new_id(), LONG),
    }
    assert await swept(world, later=AGE - timedelta(minutes=1)) == []
    await swept(world, later=AGE)
    left = {name for name, text in texts.items() if await is_there(world, text)}
    assert left == {"of a running one"}


async def test_what_an_event_names_stays(world: World) -> None:
    key = await world.execution(ev.ExecutionStarted(attempt=1, instance="x"), NODE)
    output = await world.parts.artifacts.put_text(key, LONG)
    node = ev.NodeCompleted(attempt=1, node="t", kind="generate", node_attempt=1, output=output)
    await world.parts.log.append(key, node, (await world.state(key)).last_seq)
    state = await world.state(key)
    await world.parts.log.append(key, ending.completed(state, "t"), state.last_seq)
    await swept(world, later=2 * AGE)
    assert await is_there(world, output)


async def test_parts_of_a_put_that_a_crash_broke_off_and_marks_of_deleted_ones_go(world: World) -> None:
    js = world.parts.nc.jetstream()
    await js.publish("$O.artifacts.C.neverfinished", b"half of a text")
    text = await world.parts.artifacts.put_text(new_id(), LONG)
    assert text.ref is not None
    await world.parts.artifacts.delete(text.ref)
    assert await swept(world, later=timedelta()) == []
    await swept(world, later=2 * AGE)
    await swept(world, later=2 * AGE)  # the first one has left marks of its own
    info = await api(
        world.parts.nc, f"STREAM.INFO.{BUCKET}", {"subjects_filter": "$O.artifacts.C.neverfinished"}
    )
    assert not info["state"].get("subjects")
    with pytest.raises(Permanent, match="gone"):
        await world.parts.artifacts.get_text(text)


async def test_a_history_is_read_once_however_many_artifacts_it_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await world.ended(), await world.ended()
    for key in [first, second] * 3:  # one after the other, as of executions that run at once
        await world.parts.artifacts.put_text(key, LONG)
    loads: list[str] = []
    load = world.parts.log.load

    async def counted(key: str, after: int = 0) -> Sequence[ev.Recorded]:
        loads.append(key)
        return await load(key, after)

    monkeypatch.setattr(world.parts.log, "load", counted)
    found = [one async for one in Sweeper(world.parts, may_act=lambda: True).judge(datetime.now(UTC) + AGE)]
    assert len(found) == 6
    assert sorted(loads) == sorted([first, second])


@pytest.mark.fault
async def test_sweeps_again_after_an_outage_and_only_while_it_leads(
    world: World, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "AGE", timedelta())
    monkeypatch.setattr(sweep, "AGAIN_SECONDS", 0.05)
    text = await world.parts.artifacts.put_text(new_id(), LONG)
    leads = False
    sweeper = Sweeper(world.parts, may_act=lambda: leads)
    sweeping = asyncio.create_task(sweeper.run())

    def fails() -> bool:
        return sweeper.failure is not None

    async with asyncio.timeout(30):
        nats_server.kill()
        leads = True
        while not fails():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        leads = False
        nats_server.start()
        while fails():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        assert await is_there(world, text)
        leads = True
        while await is_listed(world, text):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    await cancel_and_wait(sweeping)
