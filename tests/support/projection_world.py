"""A projector on real servers, and what it is fed with."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
from nats.js.api import ConsumerInfo

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from services.gateway.parts import Parts
from services.gateway.projector import Projector
from services.gateway.settings import GatewaySettings
from shared import ending, nats, topology
from shared import events as ev
from shared.execution import fold
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.messages import GUARD, GUARD_SUBJECT
from shared.service import Stop
from shared.subjects import EXECUTIONS, PROJECTION_CONSUMER, aggregate, event_subject
from shared.tasks import cancel_and_wait, spawn
from tests.support.make import history, node_completed, node_started, requested, started
from tests.support.postgres import migrated_server, service_url
from tests.support.waiting import until

SEQ = "SELECT seq FROM projector_positions"


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
                "DATABASE_URL": service_url(self.postgres, "gateway"),
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
            info: ConsumerInfo = await self.nc.jetstream().consumer_info(EXECUTIONS, PROJECTION_CONSUMER)
            return info.num_pending == 0 and info.num_ack_pending == 0

        await until(fact)


@contextlib.contextmanager
def projection_database(folder: Path) -> Iterator[PostgresServer]:
    with migrated_server(folder) as running:
        yield running


@contextlib.asynccontextmanager
async def projection_world(postgres: PostgresServer, folder: Path) -> AsyncIterator[World]:
    """With a NATS server of its own, and no rows."""
    server = NatsServer(folder / "nats")
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
