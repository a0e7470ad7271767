"""What is deleted, what is left, and what a crash in between leaves to the next."""

import asyncio
from datetime import timedelta

import pytest
from nats.aio.client import Client
from sqlalchemy import text

from services.janitor import stream
from shared import events as ev
from shared.errors import Permanent
from shared.ids import new_id
from tests.support.janitor_world import NODE, USED, USER, WORKFLOW, World, nats_server, postgres, world

__all__ = ["nats_server", "postgres", "world"]


async def test_prunes_what_is_old_and_leaves_a_tombstone(world: World) -> None:
    body = await world.parts.artifacts.put_body(
        new_id(), ev.RequestBody(workflow=WORKFLOW, input={"topic": "t" * 100_000})
    )
    assert isinstance(body, ev.ArtifactRef)
    output = await world.parts.artifacts.put_text(new_id(), "long" * 20_000)
    node = ev.NodeCompleted(attempt=1, node="t", kind="generate", node_attempt=1, output=output)
    old = await world.ended(NODE, node, body=body)
    running = await world.execution(ev.ExecutionStarted(attempt=1, instance="x"))
    await world.count()
    await world.project(running)

    assert await world.prune() == 1
    [left] = await world.parts.log.load(old)
    assert isinstance(left.event, ev.ExecutionPruned)
    assert (left.event.ended, left.event.usage, left.event.user_id) == ("completed", USED, USER)
    assert await world.types(running) == ["requested", "started"]
    for gone in (output, ev.TextRef(ref=body)):
        with pytest.raises(Permanent, match="gone"):
            await world.parts.artifacts.get_text(gone)
    assert await world.prune() == 0
    await world.project(old)
    assert await world.prune() == 0


async def test_leaves_what_is_young_or_kept_or_not_counted_or_not_projected(world: World) -> None:
    ids = {name: await world.ended() for name in ("kept", "uncounted", "ahead")}
    await world.project(ids["kept"], kept=True)
    await world.project(ids["uncounted"])
    assert await world.prune() == 0, "analytics has acknowledged nothing"
    await world.count()
    assert await world.prune(hours=23) == 0, "nothing is old enough"
    await world.project(ids["uncounted"])
    assert await world.prune() == 1, "only what lies below the projector's position"
    assert await world.types(ids["uncounted"]) == ["pruned"]
    await world.project(ids["ahead"])
    assert await world.prune() == 1
    assert await world.types(ids["kept"]) == ["requested", "started", "completed"]
    await world.project(ids["kept"], kept=False)
    await world.project(ids["ahead"])
    assert await world.prune() == 1


async def test_all_of_an_erased_person_goes_young_or_kept_and_nothing_of_others(world: World) -> None:
    kept, other = await world.ended(), await world.ended()
    running = await world.execution(ev.ExecutionStarted(attempt=1, instance="x"))
    await world.project(running)
    await world.project(kept, kept=True)
    somebody = new_id()
    await world.project(other, user_id=somebody)
    async with world.super.begin() as connection:
        await connection.execute(
            text("INSERT INTO erasures (user_id, requested_by, reason) VALUES (:id, 'x', 'y')"), {"id": USER}
        )
    try:
        assert await world.prune(hours=0) == 0, "analytics has acknowledged nothing"
        await world.count()
        assert await world.prune(hours=0) == 1
        assert await world.types(kept) == ["pruned"]
        assert await world.types(running) == ["requested", "started"]
        assert await world.types(other) == ["requested", "started", "completed"]
    finally:
        async with world.super.begin() as connection:
            await connection.execute(text("DELETE FROM erasures"))


async def test_the_log_decides_not_the_row(world: World) -> None:
    running = await world.execution(ev.ExecutionStarted(attempt=1, instance="x"))
    await world.ended()
    await world.count()
    state = await world.state(running)
    await world.project(
        running, status="completed", ended_at=state.requested_at - timedelta(hours=30), last_seq=1
    )
    await world.prune()
    assert await world.types(running) == ["requested", "started"]


async def test_a_keep_in_the_last_moment_wins(world: World) -> None:
    saved = await world.ended()
    await world.count()
    pruner, seen = world.pruner(), await world.facts(hours=25)
    [judged] = [one async for one in pruner.judge(seen)]
    await world.project(saved, kept=True)
    assert not await pruner._prune(judged)
    assert await world.types(saved) == ["requested", "started", "completed"]


@pytest.mark.parametrize("before_crash", [0, 1, 3], ids=["tombstone only", "one deleted", "all but the end"])
async def test_a_crash_after_the_tombstone_is_finished_by_the_next(
    world: World, before_crash: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = await world.parts.artifacts.put_text(new_id(), "long" * 20_000)
    node = ev.NodeCompleted(attempt=1, node="t", kind="generate", node_attempt=1, output=output)
    old, other = await world.ended(NODE, node), await world.execution()
    await world.count()
    deleted = 0
    delete = stream.delete

    async def crash(nc: Client, seq: int) -> None:
        nonlocal deleted
        if deleted == before_crash:
            raise KeyboardInterrupt
        deleted += 1
        await delete(nc, seq)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "delete", crash)
        with pytest.raises(KeyboardInterrupt):
            await world.prune()
    await world.project(old)
    assert len(await world.types(old)) == 6 - before_crash
    successor = world.pruner()
    assert await successor.finish(at_most=100) == 1
    assert await world.types(old) == ["pruned"]
    assert await world.types(other) == ["requested"]
    assert await successor.finish(at_most=100) == 0
    assert await world.pruner().finish(at_most=100) == 0
    with pytest.raises(Permanent, match="gone"):
        await world.parts.artifacts.get_text(output)


async def test_two_janitors_prune_each_execution_once(world: World) -> None:
    ids = [await world.ended() for _ in range(20)]
    await world.count()
    seen = await world.facts(hours=25)
    done = await asyncio.gather(
        *(world.pruner().round(seen, at_most=100, per_second=10_000) for _ in range(2))
    )
    assert sum(done) == 20
    for execution_id in ids:
        assert await world.types(execution_id) == ["pruned"]
