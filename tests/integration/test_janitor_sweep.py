"""What no event names is deleted from the bucket, once it is old enough; everything else stays."""

from datetime import UTC, datetime, timedelta

import pytest

from services.janitor.sweep import AGE, BUCKET, Sweeper
from shared import ending
from shared import events as ev
from shared.errors import Permanent
from shared.ids import new_id
from shared.jetstream import api
from tests.support.janitor_world import NODE, World, nats_server, postgres, world

__all__ = ["nats_server", "postgres", "world"]

LONG = "long" * 20_000


async def swept(world: World, *, later: timedelta) -> int:
    """One whole sweep, as if so much time had passed."""
    sweeper = Sweeper(world.parts, may_act=lambda: True)
    deleted = 0
    while not sweeper.resting:
        deleted += await sweeper.round(datetime.now(UTC) + later)
    return deleted


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
    assert await swept(world, later=AGE - timedelta(minutes=1)) == 0
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
    assert await swept(world, later=timedelta()) == 0
    await swept(world, later=2 * AGE)
    await swept(world, later=2 * AGE)  # the first one has left marks of its own
    info = await api(
        world.parts.nc, f"STREAM.INFO.{BUCKET}", {"subjects_filter": "$O.artifacts.C.neverfinished"}
    )
    assert not info["state"].get("subjects")
    with pytest.raises(Permanent, match="gone"):
        await world.parts.artifacts.get_text(text)
