"""The projector on real servers: rows follow the log, whoever dies, disconnects or hands in nonsense meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from deploy.migrations.__main__ import run
from services.gateway.parts import Parts
from services.gateway.projector import Projector
from services.gateway.settings import GatewaySettings
from shared import conventions as names
from shared import ending, nats, topology
from shared import events as ev
from shared.errors import Permanent
from shared.execution import fold
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.messages import GUARD, GUARD_SUBJECT
from shared.service import Stop
from shared.subjects import EXECUTIONS, PROJECTION_CONSUMER, aggregate, event_subject
from shared.tasks import cancel_and_wait, spawn
from tests.support.make import USER, history, node_completed, node_started, requested, started

SEQ = "SELECT seq FROM projector_positions"
HOLDERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = 'lekhika')"


@dataclass
class World:
    postgres: PostgresServer
    server: NatsServer
    nc: nats.Connection

    def __post_init__(self) -> None:
        self.log = ExecutionLog(self.nc)
        self.stop = Stop()

    def projector(self) -> Projector:
        settings = GatewaySettings.model_validate(
            {
                "NATS_URL": self.server.url_for("gateway"),
                "DATABASE_URL": self.postgres.url_for("lekhika_gateway", "for-tests"),
            }
        )
        return Projector(cast("Parts", SimpleNamespace(settings=settings, nc=self.nc)))

    @contextlib.asynccontextmanager
    async def projecting(self) -> AsyncIterator["asyncio.Task[None]"]:
        task = spawn(self.projector().run(self.stop), name="projector of the test")
        try:
            yield task
        finally:
            await cancel_and_wait(task)
        assert task.cancelled() or task.exception() is None

    async def append(self, *events: ev.AnyEvent, execution_id: str | None = None, after: int = 0) -> str:
        execution_id = execution_id or new_id()
        for event in events:
            after = await self.log.append(execution_id, event, after)
        return execution_id

    async def nonsense(self, execution_id: str) -> None:
        subject = event_subject(execution_id, "started")
        headers = {GUARD: "0", GUARD_SUBJECT: aggregate(execution_id)}
        await self.nc.jetstream().publish(subject, b'{"type": "abducted"}', headers=headers)

    async def end(self) -> int:
        return (await self.nc.jetstream().stream_info(EXECUTIONS)).state.last_seq

    def ask(self, query: str, *values: Any) -> Sequence[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def row(self, execution_id: str) -> tuple[Any, ...] | None:
        query = (
            "SELECT status, attempt, worker, input_tokens, certainty, last_seq FROM executions WHERE id = %s"
        )
        found = await asyncio.to_thread(self.ask, query, execution_id)
        return found[0] if found else None

    async def caught_up(self) -> None:
        end = await self.end()

        async def fact() -> bool:
            return await asyncio.to_thread(self.ask, SEQ) == [(end,)]

        await until(fact)

    async def all_acknowledged(self) -> None:
        async def fact() -> bool:
            info = await self.nc.jetstream().consumer_info(EXECUTIONS, PROJECTION_CONSUMER)
            return info.num_pending == 0 and info.num_ack_pending == 0

        await until(fact)


async def until(fact: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Waits for a fact of which nobody tells."""
    async with asyncio.timeout(seconds):
        while not await fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    running = PostgresServer(tmp_path_factory.mktemp("projection-postgres"))
    run("upgrade", running.start(), {"LEKHIKA_DB_PASSWORD_GATEWAY": "for-tests"})
    yield running
    running.stop()


@pytest.fixture
async def world(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[World]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    nc = await nats.connect(server.url, "test")
    await topology.ensure(nc, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
    found = World(postgres, server, nc)
    found.ask("TRUNCATE executions, projector_positions")
    yield found
    await nc.close()
    server.stop()


def run_of(*more: ev.AnyEvent) -> tuple[ev.AnyEvent, ...]:
    return (requested(), started(), node_started("text"), node_completed("text"), *more)


def completed() -> ev.ExecutionCompleted:
    state = fold(history(*run_of()))
    assert state is not None
    return ending.completed(state, "text")


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


async def test_a_user_sees_a_change_within_milliseconds(world: World) -> None:
    async with world.projecting():
        await world.append(requested())
        await world.caught_up()
        took = []
        for _ in range(20):
            begun = asyncio.get_running_loop().time()
            await world.append(requested())
            await world.caught_up()
            took.append(asyncio.get_running_loop().time() - begun)
        assert sorted(took)[10] < 0.1


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
