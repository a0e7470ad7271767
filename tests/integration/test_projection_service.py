"""The projector on real servers: rows follow the log, whoever dies, disconnects or hands in nonsense meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from services.gateway import projection_feed, projector
from shared import conventions as names
from shared import ending, topology
from shared import events as ev
from shared.errors import Permanent
from shared.execution import fold
from shared.ids import new_id
from shared.subjects import EXECUTIONS, PROJECTION_CONSUMER
from shared.tasks import spawn
from tests.support.make import USER, requested
from tests.support.projection_world import (
    World,
    completed,
    projection_database,
    projection_world,
    run_of,
)

HOLDERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = 'lekhika')"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with projection_database(tmp_path_factory.mktemp("projection-postgres")) as running:
        yield running


@pytest.fixture
async def world(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[World]:
    async with projection_world(postgres, tmp_path) as made:
        yield made


async def test_rows_follow_every_event_and_go_when_pruned(world: World) -> None:
    async with world.projecting():
        one = await world.append(requested(input={"topic": "Green tea", "pages": 3}))
        await world.caught_up()
        assert world.ask("SELECT title FROM executions") == [("Green tea",)]
        assert await world.row(one) == ("queued", 0, None, 0, "measured", 1)
        await world.append(*run_of()[1:], execution_id=one, after=1)
        await world.caught_up()
        assert await world.row(one) == ("running", 1, "here", 0, "unknown", 2)
        await world.append(ev.StopRequested(by=USER, reason="enough"), execution_id=one, after=4)
        await world.caught_up()
        (stop,) = world.ask("SELECT stop FROM executions")
        assert stop[0]["reason"] == "enough"
        state = fold(await world.log.load(one))
        assert state is not None
        assert state.stop is not None
        end = ending.stopped(state, by=USER, reason="enough", at=state.stop.at)
        await world.append(end, execution_id=one, after=5)
        await world.caught_up()
        assert await world.row(one) == (
            "stopped",
            1,
            None,
            10,
            end.summary.usage[0].tokens.certainty.value,
            6,
        )
        assert state.ended_at is None
        pruned = ev.ExecutionPruned(user_id=USER, ended="stopped", ended_at=state.last_at)
        await world.append(pruned, execution_id=one, after=6)
        await world.caught_up()
        assert await world.row(one) is None
        await world.all_acknowledged()


async def test_a_change_waits_neither_for_others_nor_for_a_look_at_the_log(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_feed, "WAIT_SECONDS", 600.0)
    monkeypatch.setattr(projector, "LOOK_SECONDS", 600.0)
    async with world.projecting():
        for _ in range(3):
            await world.append(requested())
            await world.caught_up()


async def test_what_keeps_an_execution_is_left_alone(world: World) -> None:
    async with world.projecting():
        one = await world.append(*run_of())
        await world.caught_up()
        world.ask("UPDATE executions SET kept = true WHERE id = %s", one)
        await world.append(completed(), execution_id=one, after=4)
        await world.caught_up()
        assert world.ask("SELECT status, kept FROM executions") == [("completed", True)]


async def test_what_was_delivered_to_a_dead_projector_is_read_from_the_log(world: World) -> None:
    one = await world.append(*run_of())
    subscription = await world.nc.jetstream().pull_subscribe_bind(PROJECTION_CONSUMER, EXECUTIONS)
    assert len(await subscription.fetch(3)) == 3  # and never acknowledged
    async with world.projecting():
        await world.caught_up()
        assert await world.row(one) == ("running", 1, "here", 0, "unknown", 2)
        two = await world.append(requested())
        await world.caught_up()
        rival = spawn(subscription.fetch(1, timeout=5), name="rival")
        while not rival.done():
            await world.append(requested())
        await world.append(*run_of()[1:], execution_id=two, after=5)
        await world.caught_up()
        assert world.ask("SELECT count(*), min(last_seq) FROM executions") == [(await world.end() - 6, 2)]
    await subscription.unsubscribe()


async def test_a_consumer_that_is_made_anew_makes_rows_later_but_loses_none(world: World) -> None:
    """A gateway can not make it: that is the topology's step."""
    async with world.projecting():
        await world.append(requested())
        await world.caught_up()
        await world.nc.jetstream().delete_consumer(EXECUTIONS, PROJECTION_CONSUMER)
        await topology.ensure(
            world.nc, topology.TopologySettings.model_validate({"NATS_URL": world.server.url})
        )
        one = await world.append(*run_of())
        await world.caught_up()
        assert await world.row(one) is not None


async def test_only_one_projects_and_the_next_takes_over(world: World) -> None:
    async with world.projecting() as second:
        async with world.projecting() as first:
            await world.append(requested())
            await world.caught_up()
            assert len(world.ask(HOLDERS)) == 1
            world.ask(f"SELECT pg_terminate_backend(pid) FROM ({HOLDERS}) AS holders")
            one = await world.append(*run_of())
            await world.caught_up()
            assert await world.row(one) is not None
            assert len(world.ask(HOLDERS)) == 1
            assert not first.done()
        two = await world.append(requested())
        await world.caught_up()
        assert await world.row(two) is not None
        assert not second.done()


async def test_events_wait_in_the_log_while_the_database_is_away(
    world: World, postgres: PostgresServer
) -> None:
    async with world.projecting():
        one = await world.append(requested())
        await world.caught_up()
        await asyncio.to_thread(postgres.stop)
        await world.append(*run_of(completed())[1:], execution_id=one, after=1)
        info = await world.nc.jetstream().consumer_info(EXECUTIONS, PROJECTION_CONSUMER)
        assert info.ack_floor is not None
        assert info.ack_floor.stream_seq == 1
        await asyncio.to_thread(postgres.start)
        await world.caught_up()
        assert await world.row(one) == ("completed", 1, None, 10, "measured", 5)


async def test_it_goes_on_after_nats_was_away(world: World) -> None:
    async with world.projecting():
        one = await world.append(requested())
        await world.caught_up()
        await asyncio.to_thread(world.server.kill)
        await asyncio.to_thread(world.server.start)
        await world.append(*run_of()[1:], execution_id=one, after=1)
        await world.caught_up()
        assert await world.row(one) == ("running", 1, "here", 0, "unknown", 2)


async def test_what_can_not_be_read_or_stored_is_set_aside_alone(world: World) -> None:
    before = names.SET_ASIDE.labels("projection")._value.get()
    good = [await world.append(requested()) for _ in range(3)]
    bad = await world.append(requested(user_id="somebody"))
    nul = await world.append(requested(engine=ev.EngineRef(id="e", name="a\0b", version=1)))
    await world.nonsense(new_id())
    await world.nonsense("no-id")
    good += [await world.append(requested()) for _ in range(3)]
    async with world.projecting():
        await world.caught_up()
        assert all([await world.row(key) for key in good])
        assert [await world.row(key) for key in (bad, nul)] == [None, None]
        await world.all_acknowledged()
    assert names.SET_ASIDE.labels("projection")._value.get() == before + 4


async def test_a_rebuild_begins_when_somebody_sets_the_position_back(world: World) -> None:
    async with world.projecting():
        one = await world.append(*run_of())
        await world.caught_up()
        world.ask("TRUNCATE executions")
        world.ask("UPDATE projector_positions SET seq = 0")
        await world.caught_up()
        assert await world.row(one) is not None


async def test_another_log_is_read_from_its_start(world: World) -> None:
    one = await world.append(*run_of())
    world.ask("INSERT INTO projector_positions (name, seq) VALUES ('executions', 1000000)")
    async with world.projecting():
        await world.caught_up()
        assert await world.row(one) is not None


async def test_without_its_consumer_it_refuses_to_start(world: World) -> None:
    await world.nc.jetstream().delete_consumer(EXECUTIONS, PROJECTION_CONSUMER)
    with pytest.raises(Permanent, match="projection"):
        await world.projector().run(world.stop)
