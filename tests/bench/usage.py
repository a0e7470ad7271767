"""`python -m tests.bench.usage [LEDGER_ROWS]`: counting ends, being behind, and a year of usage of a busy user."""

import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from deploy.local.processes import free_port
from services.analytics.closed_days import close_days
from services.analytics.intake import AT_ONCE
from services.analytics.rebuild import rebuild
from services.analytics.settings import AnalyticsSettings
from services.analytics.store import Store
from shared import events as ev
from shared import nats, topology
from shared.db import make_engine
from shared.subjects import ANALYTICS_CONSUMER, EXECUTIONS, PROJECTION_CONSUMER, event_subject
from tests.bench.figures import Figure, Report
from tests.bench.usage_floor import copied, fetched
from tests.support.gateway import Database, running_database
from tests.support.gateway_process import GatewayProcess
from tests.support.ledger import arrive, end, usage
from tests.support.postgres import service_url

ROWS = 1_000_000
STORED = 40_000
BACKLOG = 60_000
RATE, SECONDS = 200, 20
ASKED = 200
ZONE = "Asia/Kathmandu"
BATCH = int(AnalyticsSettings.model_fields["analytics_batch"].default)
BUCKETS = "lekhika_rollup_behind_seconds_bucket"

FILL = """
INSERT INTO usage_ledger (execution_id, line, user_id, engine_id, engine_name, bucket, ended_at, event_id, outcome, kind,
    attempts, requested_at, started_at, model, model_type, certainty, long_context, calls, input_tokens, output_tokens,
    cost, price_version)
SELECT lpad(to_hex(n), 32, '0')::uuid, line,
    CASE WHEN mod(n, 100) = 0 THEN %(busy)s::uuid ELSE %(other)s::uuid END,
    'engine-' || mod(n / 100, 3), 'Engine', date_bin('15 minutes', ended, '2000-01-01Z'), ended,
    CASE WHEN line = 0 THEN n::text END, CASE WHEN line = 0 THEN 'completed' END, CASE WHEN line = 0 THEN 'included' END,
    CASE WHEN line = 0 THEN 1 END, CASE WHEN line = 0 THEN ended END, CASE WHEN line = 0 THEN ended END,
    CASE WHEN line = 1 THEN 'model-' || mod(n / 300, 2) END, CASE WHEN line = 1 THEN 'included' END,
    CASE WHEN line = 1 THEN 'measured' END, CASE WHEN line = 1 THEN false END, line, line * 1000, line * 500,
    CASE WHEN line = 1 THEN 0.0026250000 END, CASE WHEN line = 1 THEN 1 END
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n CROSS JOIN generate_series(0, 1) AS line
    CROSS JOIN LATERAL (SELECT now() - interval '364 days' * (n::float8 / %(count)s) AS ended) AS at
"""
"""One execution in a hundred is the busy user's; half of the rows are marks."""


@contextlib.asynccontextmanager
async def engine_of(database: Database) -> AsyncIterator[AsyncEngine]:
    url = service_url(database.server, "analytics")
    engine = make_engine(url, application="bench", pool_size=2, statement_seconds=600)
    yield engine
    await engine.dispose()


def ends_of(database: Database, count: int) -> Sequence[ev.Recorded]:
    """Each of them used one model, and all ended within the last two hours."""
    dice, people = random.Random(1), [person.user_id for person in database.people.values()]
    drawn = [end(dice, user_id=dice.choice(people), usage=(usage(dice),)) for _ in range(count)]
    later = datetime.now(UTC) - max(one.time for one in drawn)
    return [replace(one, time=one.time + later) for one in drawn]


async def store_rate(database: Database, report: Report) -> None:
    events = ends_of(database, STORED)
    async with engine_of(database) as engine:
        store = Store(engine)
        arrived = arrive(events, await store.prices())
        batches = iter([arrived[start : start + BATCH] for start in range(0, len(arrived), BATCH)])

        async def some() -> None:
            for batch in batches:
                await store.count(batch)

        began = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        value = STORED / (time.perf_counter() - began)
    floor = await asyncio.to_thread(copied, database.server.url, STORED, BATCH)
    report.rate(f"ends into the store, {AT_ONCE} batches of {BATCH} at once", value, floor, 20_000)


@contextlib.asynccontextmanager
async def analytics(server: NatsServer, database: Database, port: int) -> AsyncIterator[None]:
    environment = {
        **os.environ,
        "NATS_URL": server.url,
        "DATABASE_URL": service_url(database.server, "analytics"),
        "LEKHIKA_HTTP_PORT": str(port),
        "LEKHIKA_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.analytics", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def publish(nc: nats.Connection, events: Sequence[ev.Recorded]) -> None:
    for event in events:
        subject = event_subject(event.execution_id, event.event.type)
        await nc.publish(subject, ev.encode(event.event), headers={"Nats-Msg-Id": event.message_id})
    await nc.flush()


async def waiting(nc: nats.Connection, consumer: str = ANALYTICS_CONSUMER) -> int:
    info = await nc.jetstream().consumer_info(EXECUTIONS, consumer)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


async def backlog_rate(
    nc: nats.Connection, server: NatsServer, database: Database, port: int, report: Report
) -> None:
    await publish(nc, ends_of(database, BACKLOG))
    while await waiting(nc) < BACKLOG:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    floor = await fetched(nc, BACKLOG, BATCH)
    async with analytics(server, database, port):
        while (left := await waiting(nc)) == BACKLOG:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        while await waiting(nc):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # asking takes the server's time too
        value = left / (time.perf_counter() - began)
    report.rate("ends of a backlog, one replica, log to rollup", value, floor, 10_000)


async def lag(nc: nats.Connection, server: NatsServer, database: Database, port: int, report: Report) -> None:
    """From the end's time in the log to the commit that counted it, by the service's own histogram."""
    events = ends_of(database, RATE * SECONDS)
    async with analytics(server, database, port):
        while not await asyncio.to_thread(ready, port):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        for place, event in enumerate(events):
            await publish(nc, [event])
            await asyncio.sleep(max(0.0, began + (place + 1) / RATE - time.perf_counter()))
        while await waiting(nc):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        text = await asyncio.to_thread(metrics, port)
    counts = {
        float(line.split('le="')[1].split('"')[0]): float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(BUCKETS)
    }
    p99 = min(bound for bound, count in counts.items() if count >= 0.99 * len(events))
    report.figures.append(
        Figure(
            what=f"rollup behind the log at {RATE} ends a second (n={len(events)})",
            value=f"p99 at most {p99:g} s",
            target="p99 1 s",
            met=p99 <= 1,
        )
    )


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def fill(database: Database, rows: int) -> None:
    people = database.people
    with psycopg.connect(database.server.url, autocommit=True) as connection:
        connection.execute("TRUNCATE usage_ledger, user_analytics")
        step, count = 250_000, rows // 2
        for first in range(1, count + 1, step):
            given = {
                "busy": people["ada"].user_id,
                "other": people["ben"].user_id,
                "first": first,
                "last": min(count, first + step - 1),
                "count": count,
            }
            connection.execute(FILL, given)
        connection.execute("VACUUM ANALYZE usage_ledger")


async def year(
    nc: nats.Connection, server: NatsServer, database: Database, rows: int, folder: Path, report: Report
) -> None:
    await asyncio.to_thread(fill, database, rows)
    async with engine_of(database) as engine:
        began = time.perf_counter()
        built = await rebuild(engine)
        report.plain(
            f"rebuild of the rollups from {rows:,} rows",
            f"{time.perf_counter() - began:.1f} s, {built.rows:,} rows",
        )
    database.execute("VACUUM ANALYZE user_analytics")
    now = datetime.now(UTC)
    span = {"from": (now - timedelta(days=365)).isoformat(), "bucket": "day", "timezone": ZONE}
    async with asking(server, database, folder) as client:
        while await waiting(nc, PROJECTION_CONSUMER):  # noqa: ASYNC110 - what was published above is its work too
            await asyncio.sleep(0.05)
        (first,) = await looks(client, {**span, "group_by": "engine"}, 1)
        report.plain("the first look at the year, nothing closed", f"{first:.1f} ms")
        await close(database, report)
        for group_by in ("engine", "model"):
            taken = await looks(client, {**span, "group_by": group_by}, ASKED)
            report.bounded(f"/v1/usage of a year by day and {group_by}, {rows:,} ledger rows", taken, p99=50)


@contextlib.asynccontextmanager
async def asking(server: NatsServer, database: Database, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The busy user at a gateway of its own."""
    gateway = GatewayProcess(server, database, folder / "gateway.log")
    head = database.people["ada"].headers
    try:
        await gateway.ready()
        async with httpx.AsyncClient(base_url=gateway.url, headers=head, timeout=60) as client:
            yield client
    finally:
        await gateway.ended()


async def looks(client: httpx.AsyncClient, params: dict[str, str], count: int) -> list[float]:
    """Milliseconds of each."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        answer = await client.get("/v1/usage", params=params)
        taken.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200
    return taken


async def close(database: Database, report: Report) -> None:
    """The days of the busy user, also where the first look had too few rows to ask for them."""
    asked = "INSERT INTO usage_zones (user_id, timezone) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    database.execute(asked, database.people["ada"].user_id, ZONE)
    async with engine_of(database) as engine:
        began = time.perf_counter()
        steps = await close_days(engine)
        report.plain("closing the days of the year", f"{time.perf_counter() - began:.2f} s, in {steps} steps")


async def measure(rows: int, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder) / "nats")
        try:
            server.start()
            port = free_port()
            nc = await nats.connect(server.url, "bench")
            await topology.ensure(nc, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
            with running_database(Path(folder) / "postgres") as database:
                await store_rate(database, report)
                await backlog_rate(nc, server, database, port, report)
                await lag(nc, server, database, port, report)
                await year(nc, server, database, rows, Path(folder), report)
                await nc.close()
        finally:
            server.stop()


if __name__ == "__main__":
    figures = Report()
    try:
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS, figures))
    finally:
        figures.show()
