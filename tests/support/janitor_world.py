"""A real log and a real database for the janitor; the tests play gateway, executor, projector and analytics."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from services.janitor import facts
from services.janitor.facts import Facts
from services.janitor.parts import Parts
from services.janitor.policy import Limits
from services.janitor.prune import Pruner
from services.janitor.reap import Reaper
from shared import events as ev
from shared import nats as connections
from shared import subjects, topology
from shared import workflow as wf
from shared.artifacts import Artifacts
from shared.db import make_engine
from shared.execution import ExecutionState, fold
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.usage import Kind, ModelUsage, Tier, Tokens
from tests.support.postgres import migrated_server, service_url

ROOT = Path(__file__).parents[2]
USER = "00000000-0000-0000-0000-000000000000"
ENGINE = ev.EngineRef(id="e", name="E", version=1)
WORKFLOW = wf.Workflow.model_validate(
    {"nodes": [{"id": "t", "kind": "generate", "model": "m", "prompt": "x"}], "output": "t"}
)
USED = (ModelUsage(model="m", tier=Tier.INCLUDED, tokens=Tokens(input=5, output=7)),)
NODE = ev.NodeStarted(attempt=1, node="t", kind="generate", node_attempt=1, model="m")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with migrated_server(tmp_path_factory.mktemp("janitor-postgres")) as server:
        yield server


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()


@dataclass
class World:
    parts: Parts
    super: AsyncEngine
    nats_url: str
    database_url: str
    now: float = 1000.0
    """What the janitor's monotonic clock shows."""
    beating_since: float | None = 0.0

    @property
    def nc(self) -> Client:
        return self.parts.nc

    async def execution(self, *events: ev.AnyEvent, body: ev.ArtifactRef | None = None) -> str:
        """Appends a request and these events."""
        execution_id = new_id()
        seq = await self.parts.log.append(
            execution_id,
            ev.ExecutionRequested(
                user_id=USER,
                lane="now",
                engine=ENGINE,
                kind=Kind.INCLUDED,
                tiers={"m": Tier.INCLUDED},
                body=body or ev.RequestBody(workflow=WORKFLOW, input={}),
                limits=wf.Limits(),
            ),
            0,
        )
        for event in events:
            seq = await self.parts.log.append(execution_id, event, seq)
        return execution_id

    async def ended(self, *before: ev.AnyEvent, body: ev.ArtifactRef | None = None) -> str:
        """A completed one, with its row."""
        execution_id = await self.execution(ev.ExecutionStarted(attempt=1, instance="x"), *before, body=body)
        state = await self.state(execution_id)
        summary = ev.Summary(
            user_id=USER,
            engine=ENGINE,
            kind=Kind.INCLUDED,
            attempt=1,
            requested_at=state.requested_at,
            usage=USED,
        )
        await self.parts.log.append(
            execution_id, ev.ExecutionCompleted(summary=summary, output="t"), state.last_seq
        )
        await self.project(execution_id)
        return execution_id

    async def state(self, execution_id: str) -> ExecutionState:
        state = fold(await self.parts.log.load(execution_id))
        assert state is not None
        return state

    async def types(self, execution_id: str) -> list[str]:
        return [recorded.event.type for recorded in await self.parts.log.load(execution_id)]

    async def project(self, execution_id: str, **columns: Any) -> None:
        """What the projector does: the row of an execution, none once it is pruned, and its own position."""
        state = fold(await self.parts.log.load(execution_id))
        last = await self.parts.log.last(execution_id)
        assert last is not None
        async with self.super.begin() as connection:
            await connection.execute(text("DELETE FROM executions WHERE id = :id"), {"id": execution_id})
            if state is not None:
                values = {**_row(state), **columns}
                names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
                await connection.execute(text(f"INSERT INTO executions ({names}) VALUES ({places})"), values)
            await connection.execute(
                text("INSERT INTO projector_positions (name, seq) VALUES ('executions', :seq) "
                     "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq"),
                {"seq": last.seq},
            )  # fmt: skip

    async def count(self, consumer: str = subjects.ANALYTICS_CONSUMER) -> None:
        """Acknowledges everything that waits for a consumer."""
        js = self.nc.jetstream()
        info = await js.consumer_info(subjects.EXECUTIONS, consumer)
        subscription = await js.pull_subscribe_bind(consumer=consumer, stream=subjects.EXECUTIONS)
        if info.num_pending:
            for msg in await subscription.fetch(info.num_pending, timeout=5):
                await msg.ack_sync()
        await subscription.unsubscribe()

    async def facts(self, *, hours: float = 0, seconds: float = 0) -> Facts:
        """As they are, but seen later."""
        found = await facts.gather(self.nc, self.parts.db)
        later = found.marks.now + timedelta(hours=hours, seconds=seconds)
        return replace(found, marks=replace(found.marks, now=later))

    def pruner(self) -> Pruner:
        return Pruner(self.parts, may_act=lambda: True)

    def reaper(self) -> Reaper:
        return Reaper(
            self.parts,
            may_act=lambda: True,
            unbroken_since=lambda: self.beating_since,
            clock=lambda: self.now,
        )

    async def prune(self, hours: float = 25) -> int:
        return await self.pruner().round(await self.facts(hours=hours), at_most=100, per_second=10_000)

    async def reap_twice(self, reaper: Reaper, seconds: float = 0) -> int:
        """Two rounds, six seconds apart; what the second did. The first must do nothing."""
        assert await reaper.round(await self.facts(seconds=seconds)) == 0
        self.now += 6
        return await reaper.round(await self.facts(seconds=seconds + 6))


def _row(state: ExecutionState) -> dict[str, Any]:
    return {
        "id": state.id,
        "user_id": state.user_id,
        "engine_id": state.engine.id,
        "engine_name": state.engine.name,
        "engine_version": state.engine.version,
        "status": state.status.value,
        "kind": state.kind.value,
        "lane": state.lane,
        "created_at": state.requested_at,
        "started_at": state.started_at,
        "ended_at": state.ended_at,
        "attempt": state.attempt,
        "worker": state.owner,
        "last_seq": state.last_seq,
    }


@pytest_asyncio.fixture
async def world(nats_server: NatsServer, postgres: PostgresServer) -> AsyncIterator[World]:
    nc = await connections.connect(nats_server.url, "test")
    await topology.ensure(nc, topology.TopologySettings.model_validate({"NATS_URL": nats_server.url}))
    url = service_url(postgres, "janitor")
    db, superuser = (make_engine(of, application="test") for of in (url, postgres.url))
    async with superuser.begin() as connection:
        await connection.execute(text("TRUNCATE executions, projector_positions"))
    artifacts = Artifacts(nc)
    parts = Parts(
        nc=nc, db=db, log=ExecutionLog(nc), artifacts=artifacts, limits=Limits(retention=timedelta(hours=24))
    )
    yield World(parts, superuser, nats_server.url_for("janitor"), url)
    await db.dispose()
    await superuser.dispose()
    await nc.close()


async def lost(world: World) -> str:
    """A running one whose owner is gone and whose message is acknowledged."""
    execution_id = await world.execution(ev.ExecutionStarted(attempt=1, instance="dead"), NODE)
    await world.count("now")
    await world.project(execution_id)
    return execution_id
