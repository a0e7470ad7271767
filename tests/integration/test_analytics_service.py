"""The whole service on real servers: from the log to the rollups, through outages of either side."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from deploy.local.processes import free_port
from services.analytics.app import main
from services.analytics.settings import AnalyticsSettings
from shared import events as ev
from shared import nats, topology
from shared.errors import Permanent
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.logs import LineMaker
from shared.service import Stop
from shared.subjects import ANALYTICS_CONSUMER, EXECUTIONS, event_subject
from shared.usage import Kind, ModelUsage, Tier, Tokens
from tests.support.postgres import migrated_server, service_url
from tests.support.waiting import until

USER = new_id()
PORT = free_port()
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
STORING = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'lekhika_analytics' AND wait_event_type = 'Lock'"
)
COUNTED = "SELECT count(*) FROM usage_ledger WHERE line = 0"


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    with migrated_server(tmp_path / "postgres") as running:
        with psycopg.connect(running.url) as connection:
            connection.execute("INSERT INTO users (id, display_name) VALUES (%s, 'somebody')", [USER])
        yield running


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[nats.Connection]:
    connection = await nats.connect(server.url, "test")
    await topology.ensure(connection, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
    yield connection
    await connection.close()


def settings(server: NatsServer, postgres: PostgresServer, **more: int) -> AnalyticsSettings:
    return AnalyticsSettings.model_validate(
        {
            "NATS_URL": server.url_for("analytics"),
            "DATABASE_URL": service_url(postgres, "analytics"),
            "http_port": PORT,
            **more,
        }
    )


@contextlib.asynccontextmanager
async def analytics(server: NatsServer, postgres: PostgresServer, **more: int) -> AsyncIterator[None]:
    stop = Stop()
    async with asyncio.TaskGroup() as group:
        group.create_task(
            main(settings(server, postgres, **more), stop, LineMaker("analytics", "test", lambda line: None))
        )
        try:
            yield
        finally:
            stop.set()
    assert stop.failure is None


def end(user_id: str = USER, name: str = "Engine") -> ev.ExecutionCompleted:
    tokens = Tokens(input=100, cached=40, output=10, thoughts=5)
    summary = ev.Summary(
        user_id=user_id,
        engine=ev.EngineRef(id="e", name=name, version=1),
        kind=Kind.INCLUDED,
        attempt=1,
        requested_at=datetime.now(UTC),
        started_at=datetime.now(UTC),
        usage=(ModelUsage(model="gemini-3.8-flash", tier=Tier.INCLUDED, tokens=tokens),),
    )
    return ev.ExecutionCompleted(summary=summary, output="x")


async def append(client: nats.Connection, count: int) -> None:
    log = ExecutionLog(client)
    await asyncio.gather(*(log.append(new_id(), end(), 0, headers=TRACE) for _ in range(count)))


def value(postgres: PostgresServer, query: str) -> object:
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]


async def until_counted(postgres: PostgresServer, count: int, seconds: float = 60.0) -> None:
    async def fact() -> bool:
        return await asyncio.to_thread(value, postgres, COUNTED) == count

    await until(fact, seconds)


async def readiness() -> tuple[bool, str]:
    def ask() -> tuple[bool, str]:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{PORT}/readyz") as answer:
            return json.load(answer)["ready"], ""
        return False, ""

    return await asyncio.to_thread(ask)


async def is_ready() -> bool:
    return (await readiness())[0]


async def is_not_ready() -> bool:
    return not await is_ready()


async def all_acknowledged(client: nats.Connection) -> bool:
    info = await client.jetstream().consumer_info(EXECUTIONS, ANALYTICS_CONSUMER)
    return (info.num_pending, info.num_ack_pending) == (0, 0)


async def test_ends_are_counted_acknowledged_and_priced(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    await append(client, 30)
    async with analytics(server, postgres):
        await until(is_ready)
        await append(client, 30)
        await until_counted(postgres, 60)
        await until(lambda: all_acknowledged(client))
    cost = value(postgres, "SELECT total_cost::text FROM user_analytics WHERE analytics_type = 'token_usage'")
    assert cost == "0.0062550000"


async def test_two_batches_are_stored_at_the_same_time_while_a_third_is_read(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    await append(client, 6)

    async def fact() -> bool:
        info = await client.jetstream().consumer_info(EXECUTIONS, ANALYTICS_CONSUMER)
        return (await asyncio.to_thread(value, postgres, STORING), info.num_ack_pending) == (2, 3)

    with psycopg.connect(postgres.url) as holder:
        holder.execute("LOCK TABLE user_analytics IN SHARE ROW EXCLUSIVE MODE")
        async with analytics(server, postgres, analytics_batch=1):
            await until(fact)
            holder.commit()
            await until_counted(postgres, 6)


async def test_what_it_had_fetched_but_not_counted_comes_again_at_once(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    await append(client, 400)
    for _ in range(3):
        before = await asyncio.to_thread(value, postgres, COUNTED)

        async def more(before: object = before) -> bool:
            return await asyncio.to_thread(value, postgres, COUNTED) != before

        async with analytics(server, postgres, analytics_batch=10):
            await until(more)
        assert await asyncio.to_thread(value, postgres, COUNTED) != 400
    async with analytics(server, postgres):
        await until_counted(postgres, 400, seconds=30)


async def test_a_replay_of_the_whole_stream_by_two_replicas_changes_nothing(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    await append(client, 200)
    async with analytics(server, postgres):
        await until_counted(postgres, 200)
    sums = "SELECT array_agg(user_analytics ORDER BY analytics_type)::text FROM user_analytics"
    before = value(postgres, sums)
    js = client.jetstream()
    await js.delete_consumer(EXECUTIONS, ANALYTICS_CONSUMER)
    await topology.ensure(client, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
    command = [sys.executable, "-m", "services.analytics"]
    environment = {
        "NATS_URL": server.url_for("analytics"),
        "DATABASE_URL": service_url(postgres, "analytics"),
        "LEKHIKA_ANALYTICS_BATCH": "7",
    }
    replicas = [
        await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        await until(lambda: all_acknowledged(client))
    finally:
        for replica in replicas:
            replica.terminate()
        codes = await asyncio.gather(*(replica.wait() for replica in replicas))
    assert codes == [0, 0]
    assert value(postgres, sums) == before


async def test_what_can_not_be_counted_is_set_aside_and_holds_nothing_up(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    log, js, broken = ExecutionLog(client), client.jetstream(), new_id()
    await log.append(new_id(), end(user_id=new_id()), 0)
    await log.append(new_id(), end(user_id="bob"), 0)
    await log.append(new_id(), end(name="nul \0 inside"), 0)
    await js.publish(event_subject(broken, "failed"), b"not JSON", headers={"Nats-Msg-Id": "broken-1"})
    await append(client, 3)
    async with analytics(server, postgres):
        await until_counted(postgres, 3)
        await until(lambda: all_acknowledged(client))
    with psycopg.connect(postgres.url) as connection:
        rejects = connection.execute(
            "SELECT reason, event_id = 'broken-1', body = 'not JSON' FROM usage_rejects"
        )
        assert sorted(rejects.fetchall()) == [
            ("bad_id", False, False),
            ("bad_value", False, False),
            ("unknown_user", False, False),
            ("unreadable", True, True),
        ]


@pytest.mark.fault
async def test_with_the_database_away_events_wait_and_are_counted_when_it_is_back(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    async with analytics(server, postgres):
        await append(client, 5)
        await until_counted(postgres, 5)
        await until(is_ready)
        await asyncio.to_thread(postgres.kill)
        await append(client, 20)
        await until(is_not_ready)
        await asyncio.to_thread(postgres.start)
        await until_counted(postgres, 25)
        await until(lambda: all_acknowledged(client))
        await until(is_ready)


@pytest.mark.fault
async def test_with_nats_away_it_goes_on_where_it_was(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    async with analytics(server, postgres):
        await append(client, 5)
        await until_counted(postgres, 5)
        await asyncio.to_thread(server.kill)
        await until(is_not_ready)
        await asyncio.to_thread(server.start)
        await until(lambda: asyncio.sleep(0, client.is_connected))
        await append(client, 5)
        await until_counted(postgres, 10)
        await until(is_ready)


async def test_days_that_are_over_are_closed_when_it_starts(
    server: NatsServer, postgres: PostgresServer, client: nats.Connection
) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute(
            "INSERT INTO usage_zones (user_id, timezone) VALUES (%s, 'Asia/Kathmandu')", [USER]
        )
    is_closed = "SELECT closed_until > now() - interval '5 days' FROM usage_zones"
    async with analytics(server, postgres):
        await until(lambda: asyncio.to_thread(value, postgres, is_closed))


async def test_without_the_topology_it_does_not_start(server: NatsServer, postgres: PostgresServer) -> None:
    with pytest.raises(Permanent, match="topology"):
        await main(settings(server, postgres), Stop(), LineMaker("analytics", "test", lambda line: None))
