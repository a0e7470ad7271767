"""Closing days while others count, close, ask, erase and fail: nothing is lost, nobody is held up, and little is kept."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deploy.local.postgres import PostgresServer
from services.analytics import closed_days
from services.analytics.closed_days import close_days, keep_closed
from services.analytics.pricing import PriceList
from services.analytics.statements import COUNT, LOCK_ROLLUPS
from services.analytics.store import Store, _parameters
from services.gateway import usage_days
from shared.db import Role, transaction
from shared.errors import Unavailable
from shared.tasks import cancel_and_wait, spawn
from shared.usage import MOST_ZONES
from tests.support.gateway import Database, Gateway, Person
from tests.support.ledger import USERS, arrive, rows
from tests.support.ledger import end as drawn_end
from tests.support.usage_ends import count, end, used
from tests.support.waiting import until

ZONE = "Asia/Kathmandu"
LONG_AGO = datetime.now(UTC) - timedelta(days=40)
WAITING = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'user_analytics'::regclass AND mode = '{}'"
ZONES_OF = "SELECT timezone FROM usage_zones WHERE user_id = '{}' ORDER BY timezone"


@pytest.fixture
async def zoned(ledger_server: PostgresServer, engine: AsyncEngine) -> AsyncEngine:
    """The engine of analytics; somebody has an end of long ago, and a zone that nothing is closed in yet."""
    with psycopg.connect(ledger_server.url) as connection:
        connection.execute("INSERT INTO usage_zones (user_id, timezone) VALUES (%s, %s)", [USERS[0], ZONE])
    await count(engine, [(LONG_AGO, end(USERS[0], used()))])
    return engine


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lock is waited for, the test decides when it comes."""
    monkeypatch.setattr(closed_days, "_PATIENCE", text("SET LOCAL lock_timeout = '60s'"))


async def another(connection: AsyncConnection) -> None:
    """Counts an end into the same quarter of an hour."""
    drawn = replace(drawn_end(random.Random(1), user_id=USERS[0], usage=(used(),)), time=LONG_AGO)
    await connection.execute(COUNT, _parameters(arrive([drawn], PriceList([]))))


async def waits(server: PostgresServer, mode: str) -> None:
    async def so() -> bool:
        return bool((await asyncio.to_thread(rows, server, WAITING.format(mode)))[0]["n"])

    await until(so)


def closed(server: PostgresServer) -> str:
    (row,) = rows(server, "SELECT closed_until::text AS moment FROM usage_zones")
    found: str = row["moment"]
    return found


async def test_days_are_not_closed_while_somebody_counts(
    ledger_server: PostgresServer, zoned: AsyncEngine
) -> None:
    async with transaction(zoned) as connection:
        await another(connection)
        closing = spawn(close_days(zoned), name="closing")
        await waits(ledger_server, "ShareRowExclusiveLock")
        assert closed(ledger_server) == "-infinity"
    assert await closing > 0
    assert rows(
        ledger_server,
        "SELECT sum((sums->>8)::int + (sums->>9)::int + (sums->>10)::int)::int AS n FROM usage_days",
    ) == [{"n": 2}]
    assert await Store(zoned).differences() == []


async def test_nobody_counts_while_days_are_closed(ledger_server: PostgresServer, zoned: AsyncEngine) -> None:
    zone = {"user_id": USERS[0], "timezone": ZONE}
    async with transaction(zoned) as closing:
        await closing.execute(LOCK_ROLLUPS)
        span = (await closing.execute(closed_days._TAKE, zone)).mappings().one()
        await closed_days._close(closing, {**zone, **span})

        async def counted() -> None:
            async with transaction(zoned) as connection:
                await another(connection)

        counting = spawn(counted(), name="counting")
        await waits(ledger_server, "RowExclusiveLock")
    await counting
    assert closed(ledger_server) == "-infinity", "the end has opened its day again"
    assert await Store(zoned).differences() == []
    await close_days(zoned)
    assert await Store(zoned).differences() == []


async def test_several_may_close_at_once(ledger_server: PostgresServer, zoned: AsyncEngine) -> None:
    await count(
        zoned, [(datetime.now(UTC) - timedelta(days=10 * n), end(USERS[0], used())) for n in range(30)]
    )
    both = await asyncio.gather(close_days(zoned), close_days(zoned), close_days(zoned))
    assert sum(both) >= 10
    assert closed(ledger_server) > (datetime.now(UTC) - timedelta(days=5)).isoformat(" ")
    assert await Store(zoned).differences() == []
    assert await close_days(zoned) == 0


async def test_who_waits_for_the_lock_gives_up_before_counting_is_held_up_for_long(
    zoned: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_days, "_PATIENCE", text("SET LOCAL lock_timeout = '10ms'"))
    async with transaction(zoned) as connection:
        await another(connection)
        with pytest.raises(Unavailable, match="lock timeout"):
            await close_days(zoned)
    assert await close_days(zoned) > 0


async def test_an_outage_is_logged_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried, told = asyncio.Semaphore(0), list[str]()

    async def fails(_: AsyncEngine) -> int:
        tried.release()
        raise Unavailable("away")

    class Log:
        def warning(self, message: str, **_: Any) -> None:
            told.append(message)

    monkeypatch.setattr(closed_days, "close_days", fails)
    monkeypatch.setattr(closed_days, "SECONDS", 0)
    monkeypatch.setattr(closed_days, "_log", Log())
    task = spawn(keep_closed(None), name="test")  # type: ignore[arg-type]
    for _ in range(5):
        await tried.acquire()
    await cancel_and_wait(task)
    assert told == ["days of usage are not closed yet"]


async def test_a_zone_that_the_server_does_not_know_any_more_goes_and_holds_nothing_up(
    ledger_server: PostgresServer, zoned: AsyncEngine
) -> None:
    with psycopg.connect(ledger_server.url) as connection:
        connection.execute(
            "INSERT INTO usage_zones (user_id, timezone, closed_until) VALUES (%s, 'Mars/Olympus', '2026-09-01Z')",
            [USERS[0]],
        )
        connection.execute("UPDATE usage_zones SET closed_until = '-infinity' WHERE timezone = %s", [ZONE])
    await count(zoned, [(datetime(2026, 8, 1, tzinfo=UTC), end(USERS[0], used()))])
    assert await close_days(zoned) > 0
    assert rows(ledger_server, ZONES_OF.format(USERS[0])) == [{"timezone": ZONE}]
    assert await Store(zoned).differences() == []


async def test_zones_that_nobody_looks_at_go_and_of_many_those_looked_at_last_stay(
    ledger_server: PostgresServer, zoned: AsyncEngine
) -> None:
    await close_days(zoned)
    with psycopg.connect(ledger_server.url) as connection:
        connection.execute("UPDATE usage_zones SET looked_at = now() - interval '31 days'")
        for days in range(6):
            connection.execute(
                "INSERT INTO usage_zones (user_id, timezone, looked_at) VALUES (%s, %s, now() - %s * interval '1 day')",
                [USERS[1], f"Etc/GMT+{days}", days],
            )
    await close_days(zoned)
    assert rows(ledger_server, ZONES_OF.format(USERS[0])) == []
    assert rows(ledger_server, "SELECT * FROM usage_days") == []
    assert rows(ledger_server, ZONES_OF.format(USERS[1])) == [
        {"timezone": f"Etc/GMT+{days}"} for days in range(MOST_ZONES)
    ]


def zones_of(database: Database, person: Person) -> list[str]:
    return [row["timezone"] for row in rows(database.server, ZONES_OF.format(person.user_id))]


@pytest.fixture
async def much(database: Database, person: Person) -> AsyncIterator[None]:
    """More rows of the person than are summed at every look."""
    database.execute(
        "INSERT INTO user_analytics (user_id, analytics_type, bucket, engine_id, engine_name, model, model_type)"
        " SELECT %s, 'execution', date_bin('15 minutes', now(), '2000-01-01Z') - n * interval '15 minutes', 'e', 'E', '', 'none'"
        " FROM generate_series(0, %s) AS n",
        person.user_id,
        usage_days.MANY,
    )
    yield
    database.execute("DELETE FROM user_analytics WHERE user_id = %s", person.user_id)


async def look(client: httpx.AsyncClient, zone: str = ZONE, bucket: str = "day", days: int = 300) -> None:
    start = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    answer = await client.get("/v1/usage", params={"from": start, "bucket": bucket, "timezone": zone})
    assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("much")
async def test_days_are_asked_for_where_a_look_has_to_sum_many_rows(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    await look(uma, days=40)
    await look(uma, bucket="hour")
    assert zones_of(database, person) == []
    await look(uma)
    assert zones_of(database, person) == [ZONE]
    await close_days(analytics)
    assert rows(database.server, f"SELECT 1 FROM usage_days WHERE user_id = '{person.user_id}' LIMIT 1")


async def test_who_used_little_has_no_zone(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    await count(analytics, [(LONG_AGO, end(person.user_id, used()))])
    await look(uma)
    assert zones_of(database, person) == []


@pytest.mark.usefixtures("much")
async def test_a_look_is_noted_once_a_day_and_no_more_zones_are_asked_for_than_are_kept(
    uma: httpx.AsyncClient, database: Database, person: Person
) -> None:
    zones = [f"Etc/GMT+{n}" for n in range(MOST_ZONES + 1)]
    looked = f"SELECT looked_at::text FROM usage_zones WHERE user_id = '{person.user_id}' ORDER BY timezone"
    for zone in zones:
        await look(uma, zone)
    assert zones_of(database, person) == zones[:-1]
    before = rows(database.server, looked)
    await look(uma, zones[0])
    assert rows(database.server, looked) == before
    old = "UPDATE usage_zones SET looked_at = now() - interval '25 hours' WHERE user_id = %s"
    database.execute(old, person.user_id)
    for zone in (zones[0], zones[-1]):
        await look(uma, zone)
    assert zones_of(database, person) == zones
    fresh = rows(
        database.server, ZONES_OF.format(f"{person.user_id}' AND looked_at > now() - interval '1 hour")
    )
    assert [row["timezone"] for row in fresh] == [zones[0], zones[-1]]


@pytest.mark.usefixtures("much")
@pytest.mark.parametrize("trouble", ["lock", "refusal"])
async def test_an_answer_is_given_also_where_no_days_can_be_asked_for(
    uma: httpx.AsyncClient, database: Database, person: Person, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_days, "_PATIENCE", text("SET LOCAL lock_timeout = '10ms'"))
    with psycopg.connect(database.server.url) as connection:
        if trouble == "lock":
            connection.execute("LOCK TABLE usage_zones IN EXCLUSIVE MODE")
            await look(uma)
        else:
            database.execute("REVOKE INSERT (user_id, timezone) ON usage_zones FROM lekhika_user")
            try:
                await look(uma)
            finally:
                database.execute("GRANT INSERT (user_id, timezone) ON usage_zones TO lekhika_user")
    assert zones_of(database, person) == []


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO usage_zones (user_id, timezone, closed_until) VALUES (:me, 'UTC', now())",
        "INSERT INTO usage_zones (user_id, timezone) VALUES (:other, 'UTC')",
        "UPDATE usage_zones SET user_id = :other",
        "INSERT INTO usage_days (user_id, timezone) VALUES (:me, 'UTC')",
    ],
)
async def test_a_user_can_not_say_what_is_closed_nor_ask_for_another(
    gateway: Gateway, database: Database, person: Person, query: str
) -> None:
    given = {"me": person.user_id, "other": database.people["ben"].user_id}
    with pytest.raises(ProgrammingError, match=r"permission denied|row-level security"):
        async with transaction(gateway.parts.db, role=Role.USER, user_id=person.user_id) as connection:
            await connection.execute(
                text(query), {name: given[name] for name in given if f":{name}" in query}
            )


async def test_a_user_does_not_touch_the_zone_of_another(
    gateway: Gateway, database: Database, person: Person
) -> None:
    ben = database.people["ben"]
    database.execute(
        "INSERT INTO usage_zones (user_id, timezone) VALUES (%s, 'UTC') ON CONFLICT DO NOTHING", ben.user_id
    )
    async with transaction(gateway.parts.db, role=Role.USER, user_id=person.user_id) as connection:
        assert (await connection.execute(text("SELECT * FROM usage_zones"))).all() == []
        done = await connection.execute(text("UPDATE usage_zones SET looked_at = now() RETURNING 1"))
        assert done.all() == []
