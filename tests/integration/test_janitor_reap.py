"""Open executions: those that nobody has any more, and the many that somebody has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.janitor import reap
from services.janitor.policy import LOST, SNAPSHOT_AGE, Fleet
from shared import deltas, subjects
from shared import events as ev
from shared import workflow as wf
from shared.execution import Status
from shared.heartbeat import Heartbeat
from shared.ids import new_id
from shared.usage import Certainty, ModelUsage, Tier, Tokens
from tests.support.janitor_world import NODE, USER, World, lost, nats_server, postgres, world

__all__ = ["nats_server", "postgres", "world"]


async def test_requeues_what_nobody_has_and_only_on_the_second_look(world: World) -> None:
    execution_id = await lost(world)
    assert await world.reap_twice(world.reaper()) == 1
    last = await world.parts.log.last(execution_id)
    assert last is not None
    assert last.event == ev.ExecutionRequeued(user_id=USER, lane="now", reason=LOST)
    assert await world.reap_twice(world.reaper()) == 0, "the lane has it again"


async def test_never_requeues_what_a_lane_still_has(world: World) -> None:
    queued, started = [
        await world.execution(*more) for more in ([], [ev.ExecutionStarted(attempt=1, instance="d")])
    ]
    for execution_id in (queued, started):
        await world.project(execution_id)
    assert await world.reap_twice(world.reaper()) == 0


@asynccontextmanager
async def carried(world: World) -> AsyncIterator[str]:
    """One whose owner lives and says that it runs it."""
    listed: list[dict[str, str]] = []
    instance = new_id()
    beat = Heartbeat(
        world.nc.jetstream(),
        service="executor",
        instance=instance,
        snapshot=lambda: {"executions": listed},
    )
    async with beat:
        execution_id = await world.execution(ev.ExecutionStarted(attempt=1, instance=instance), NODE)
        listed.append({"id": execution_id})
        await world.count("now")
        await world.project(execution_id)
        beat.poke()
        await until_listed(world, instance, execution_id)
        yield execution_id


async def test_never_touches_a_healthy_long_run(world: World) -> None:
    async with carried(world) as execution_id:
        reaper = world.reaper()
        for minute in range(1, 50, 7):
            world.now += 7 * 60
            assert await reaper.round(await world.facts(seconds=minute * 60)) == 0
    assert await world.types(execution_id) == ["requested", "started", "node_started"]


async def until_listed(world: World, instance: str, execution_id: str) -> None:
    """Waits for a heartbeat that lists it and is so new that its owner would count as lost if it did not."""
    claimed = (await world.state(execution_id)).claimed_at
    assert claimed is not None
    async with asyncio.timeout(10):
        fleet: Fleet = {}
        while instance not in fleet or fleet[instance].at <= claimed + SNAPSHOT_AGE:
            await asyncio.sleep(0.05)
            fleet = (await world.facts()).fleet
    assert execution_id in fleet[instance].executions


async def test_looks_at_every_page_of_open_executions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reap, "PAGE", 2)
    for _ in range(5):
        await lost(world)
    assert await world.reap_twice(world.reaper()) == 5


async def test_acts_on_nothing_while_its_own_heartbeats_fail(world: World) -> None:
    await lost(world)
    world.beating_since = None
    assert await world.reap_twice(world.reaper()) == 0
    world.beating_since = world.now
    reaper = world.reaper()
    assert await world.reap_twice(reaper) == 0, "accepted for 6 s only"
    world.now += 7
    assert await reaper.round(await world.facts()) == 1


async def test_two_janitors_requeue_once(world: World) -> None:
    execution_id = await lost(world)
    pair = [world.reaper(), world.reaper()]
    for reaper in pair:
        await reaper.round(await world.facts())
    world.now += 6
    seen = await world.facts()
    assert sum(await asyncio.gather(*(reaper.round(seen) for reaper in pair))) == 1
    assert (await world.types(execution_id)).count("requeued") == 1


async def test_ends_a_stop_that_its_dead_owner_can_not(world: World) -> None:
    second = NODE.model_copy(update={"node": "silent"})
    execution_id = await world.execution(
        ev.ExecutionStarted(attempt=1, instance="dead"),
        NODE,
        second,
        ev.StopRequested(by=USER, reason="enough"),
    )
    await world.project(execution_id)
    usage = ModelUsage(model="m-1", tier=Tier.INCLUDED, tokens=Tokens(input=9, output=2))
    for offset, piece in ((0, "Once "), (5, "upon")):
        delta = deltas.Delta(attempt=1, node="t", node_attempt=1, offset=offset, text=piece, usage=usage)
        await world.nc.jetstream().publish(subjects.deltas(execution_id), deltas.encode(delta))
    reaper = world.reaper()
    assert await world.reap_twice(reaper) == 0, "a living owner has 15 s"
    world.now += 60
    assert await world.reap_twice(world.reaper(), seconds=60) == 1
    state = await world.state(execution_id)
    assert state.status is Status.STOPPED
    assert state.stop is not None
    assert (state.stop.by, state.stop.reason, state.stop.closed_at) == (USER, "enough", None)
    assert {part.node: part.output.text for part in state.partials} == {"t": "Once upon", "silent": ""}
    tokens = {used.model: used.tokens for used in state.usage}
    assert tokens["m-1"] == Tokens(input=9, output=2, certainty=Certainty.ESTIMATED)
    assert tokens["m"].certainty is Certainty.UNKNOWN


async def test_stops_what_runs_past_its_limit(world: World) -> None:
    async with carried(world) as execution_id:
        assert await world.reap_twice(world.reaper(), seconds=wf.Limits().seconds + 65) == 1
    last = await world.parts.log.last(execution_id)
    assert last is not None
    assert last.event == ev.StopRequested(by="system:janitor", reason="overdue")


async def test_never_stops_what_only_waits_for_an_executor(world: World) -> None:
    await world.project(await world.execution(ev.ExecutionStarted(attempt=1, instance="dead"), NODE))
    assert await world.reap_twice(world.reaper(), seconds=wf.Limits().seconds + 3600) == 0
