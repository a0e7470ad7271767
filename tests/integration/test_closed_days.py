"""Closed days: what people see is the sum of the quarters of an hour, whatever was closed before and whatever comes late."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from services.analytics import reprice
from services.analytics.closed_days import close_days, day_differences
from services.analytics.import_executions import Wanted as WantedImport
from services.analytics.import_executions import import_executions, names_of
from services.analytics.rebuild import rebuild
from services.gateway.usage_periods import Bucket
from services.gateway.usage_queries import Sums, Used, Wanted, usage
from services.gateway.usage_rows import start_text
from shared.db import transaction
from shared.usage import Certainty, ModelUsage, Tier, Tokens
from tests.support.gateway import Database, Gateway, Person, running_database, running_gateway
from tests.support.usage_ends import FLASH, PRO, count, end, used

ZONE = "Asia/Kathmandu"
QUARTER = timedelta(minutes=15)

# Of every quarter another number, so that sums differ whenever one is missed or taken twice.
FILL = """
INSERT INTO user_analytics (user_id, analytics_type, bucket, engine_id, engine_name, model, model_type, completed, input_tokens)
SELECT %(user)s, kind, at, 'e', 'Engine', CASE kind WHEN 'execution' THEN '' ELSE 'm' END,
    CASE kind WHEN 'execution' THEN 'none' ELSE 'payg' END, CASE kind WHEN 'execution' THEN 1 ELSE 0 END,
    CASE kind WHEN 'execution' THEN 0 ELSE (extract(epoch FROM at - %(first)s) / 900)::bigint + 1 END
FROM generate_series(%(first)s, %(last)s, interval '15 minutes') AS at, unnest(ARRAY['execution', 'token_usage']) AS kind
ON CONFLICT DO NOTHING
"""
PLAIN = """
SELECT date_trunc('day', bucket, %(zone)s), sum(total_tokens)::bigint, sum(completed)::bigint FROM user_analytics
WHERE user_id = %(user)s AND bucket >= %(start)s AND bucket < %(end)s GROUP BY 1 ORDER BY 1
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Of this file alone: rebuilds and new prices change everybody's figures."""
    with running_database(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="module")
async def gateway(nats_server: NatsServer, database: Database) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_server, database) as running:
        yield running


def one(database: Database, query: str, *values: object) -> Any:
    with psycopg.connect(database.server.url) as connection:
        row = connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]


def watch(database: Database, person: Person, zone: str = ZONE) -> None:
    database.execute("INSERT INTO usage_zones (user_id, timezone) VALUES (%s, %s)", person.user_id, zone)


def closed_until(database: Database, person: Person, zone: str = ZONE) -> str:
    query = "SELECT closed_until::text FROM usage_zones WHERE (user_id, timezone) = (%s::uuid, %s)"
    found: str = one(database, query, person.user_id, zone)
    return found


async def seen(client: httpx.AsyncClient, accept: str = "application/json", **params: str) -> str:
    """The answer for the last 300 days as it came, but for how fresh it is."""
    start = (datetime.now(UTC) - timedelta(days=300)).date().isoformat()
    end = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    given = {"from": start, "to": end, "bucket": "day", "timezone": ZONE, **params}
    answer = await client.get("/v1/usage", params=given, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.text.split('"as_of"')[0]


async def total(client: httpx.AsyncClient) -> int:
    return sum(int(line.split(",")[6]) for line in (await seen(client, "text/csv")).split()[1:])


async def wrong_days(analytics: AsyncEngine, person: Person) -> Sequence[Any]:
    async with transaction(analytics) as connection:
        return [row for row in await day_differences(connection) if str(row["user_id"]) == person.user_id]


TURNS = [
    ("Europe/Vienna", "2025-10-26T01:00Z"),
    ("Asia/Kathmandu", "2026-01-01T00:00Z"),
    (
        "America/St_Johns",
        "2005-10-30T02:31Z",
    ),  # a minute after midnight the clock goes back to the day before
    ("Atlantic/Azores", "2025-10-26T01:00Z"),  # the day begins twice
    ("America/Havana", "2025-11-02T05:00Z"),  # so it does here
    ("America/Havana", "2026-03-08T05:00Z"),  # the day begins at one
    ("Asia/Beirut", "2026-03-28T22:00Z"),
    ("America/Santiago", "2026-09-06T04:00Z"),
    ("America/Santiago", "2026-04-05T03:00Z"),  # the hour before midnight comes twice
    ("Pacific/Apia", "2011-12-30T10:00Z"),  # the 30th was left out
]


@pytest.mark.parametrize(("zone", "turn"), TURNS)
async def test_days_are_the_sums_of_their_quarters_in_every_zone(
    gateway: Gateway, database: Database, person: Person, analytics: AsyncEngine, zone: str, turn: str
) -> None:
    """Around a moment at which the zone does something odd, for ranges and for days that were opened again anywhere near it."""
    dice, at = random.Random(turn), datetime.fromisoformat(turn).replace(minute=30)
    # The first month that is closed at once ends near that moment.
    first = at - timedelta(days=31) + QUARTER * dice.randint(-96, 96)
    watch(database, person, zone)
    with psycopg.connect(database.server.url) as connection:
        for start, last in ((first, first), (at - timedelta(days=9), at + timedelta(days=9))):
            given = {"user": person.user_id, "first": start, "last": last}
            connection.execute(FILL.encode(), given)
    assert await close_days(analytics) > 1
    for _ in range(12):
        await _compared(gateway, database, person, zone, at, dice)
        again = "UPDATE user_analytics SET completed = completed + 1 WHERE user_id = %s AND bucket = %s AND model = ''"
        database.execute(again, person.user_id, at + timedelta(days=2) + QUARTER * dice.randint(-96, 96))
        await _compared(gateway, database, person, zone, at, dice)
        assert await close_days(analytics) > 0
        assert await wrong_days(analytics, person) == []


async def _compared(
    gateway: Gateway, database: Database, person: Person, zone: str, at: datetime, dice: random.Random
) -> None:
    for _ in range(4):
        start = at - timedelta(days=dice.choice([2, 5])) + QUARTER * dice.randint(-110, 110)
        end = start + QUARTER * dice.choice([1, 40, 95, 97, 150, 193, 300, 700])
        wanted = Wanted(start=start, end=end, timezone=zone, bucket=Bucket.DAY, group_by=None)
        found = await usage(gateway.parts.db, person.user_id, wanted)
        given = {"zone": zone, "user": person.user_id, "start": start, "end": end}
        with psycopg.connect(database.server.url) as connection:
            plain = connection.execute(PLAIN.encode(), given).fetchall()
        assert [_told(used) for used in found.used] == plain


def _told(used: Used) -> tuple[datetime, int, int]:
    sums = Sums._make(orjson.loads(used.sums))
    return datetime.fromisoformat(start_text(used.here, used.east)), sums.total_tokens, sums.completed


def some_ends(person: Person, dice: random.Random) -> list[tuple[datetime, Any]]:
    """Over 300 days, with calls of which nothing is known."""
    nothing = ModelUsage(model=FLASH, tier=Tier.INCLUDED, tokens=Tokens(certainty=Certainty.UNKNOWN))
    choices: Sequence[Sequence[ModelUsage]] = [
        (used(),), (used(PRO), used()), (nothing,), (used(certainty=Certainty.ESTIMATED),), (used(PRO), nothing), (),
    ]  # fmt: skip
    return [
        (
            datetime.now(UTC) - timedelta(minutes=dice.randint(0, 300 * 1440)),
            end(
                person.user_id,
                *dice.choice(choices),
                outcome=dice.choice(["completed", "failed", "stopped"]),
                engine=dice.choice(["e", "f"]),
                name=dice.choice(["One", "Two"]),
            ),
        )
        for _ in range(150)
    ]


@pytest.mark.parametrize("zone", [ZONE, "America/St_Johns"])
async def test_an_answer_is_the_same_byte_for_byte_before_and_after_its_days_are_closed(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine, zone: str
) -> None:
    await count(analytics, some_ends(person, random.Random(zone)))
    asked = [
        {"timezone": zone, "accept": accept, **({"group_by": group} if group else {})}
        for group in ("", "engine", "model", "kind")
        for accept in ("application/json", "text/csv")
    ]
    cold = [await seen(uma, **params) for params in asked]
    watch(database, person, zone)
    assert await close_days(analytics) > 0
    assert closed_until(database, person, zone) > (datetime.now(UTC) - timedelta(days=5)).isoformat(" ")
    assert [await seen(uma, **params) for params in asked] == cold
    # They were taken from closed days: spoiled ones show.
    database.execute(
        "UPDATE usage_days SET sums = '[0,0,0,0,0,0,0,0,1,0,0]' WHERE user_id = %s", person.user_id
    )
    assert await seen(uma, **asked[0]) != cold[0]


@pytest.mark.parametrize("name", ["Engine", "New"], ids=["a-row-that-is-there", "a-new-row"])
@pytest.mark.parametrize("days", [4, 40, 290])
async def test_an_end_that_comes_late_is_in_the_very_next_answer(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine, days: int, name: str
) -> None:
    now = datetime.now(UTC)
    await count(analytics, [(now - timedelta(days=day), end(person.user_id, used())) for day in range(299)])
    watch(database, person)
    for late in range(3):
        await close_days(analytics)
        assert await total(uma) == (299 + late) * 116
        assert await wrong_days(analytics, person) == []
        await count(analytics, [(now - timedelta(days=days), end(person.user_id, used(), name=name))])
        assert await total(uma) == (300 + late) * 116


async def test_days_of_which_a_writer_would_not_notice_that_they_are_closed_stay_open(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    watch(database, person)
    now = datetime.now(UTC)
    for place in range(1, 3):
        await count(
            analytics, [(now - timedelta(hours=hours), end(person.user_id, used())) for hours in range(47)]
        )
        await close_days(analytics)
        assert await total(uma) == place * 47 * 116
    assert closed_until(database, person) != "-infinity"


async def test_a_row_that_goes_or_moves_opens_the_days_that_it_leaves(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    now, whose = datetime.now(UTC), person.user_id
    await count(analytics, [(now - timedelta(days=day), end(whose, used())) for day in (10, 30, 50, 70)])
    watch(database, person)
    await close_days(analytics)
    oldest = "bucket = (SELECT min(bucket) FROM user_analytics WHERE user_id = %s)"
    database.execute(f"DELETE FROM user_analytics WHERE user_id = %s AND {oldest}", whose, whose)
    assert await total(uma) == 3 * 116
    await close_days(analytics)
    database.execute(
        f"UPDATE user_analytics SET bucket = date_bin('15 minutes', now(), '2000-01-01Z') WHERE user_id = %s AND {oldest}",
        whose,
        whose,
    )
    assert await total(uma) == 3 * 116
    assert one(database, "SELECT count(*) FROM usage_days WHERE user_id = %s", whose) > 0


async def test_an_import_is_in_the_very_next_answer(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine, tmp_path: Path
) -> None:
    ended = datetime.now(UTC) - timedelta(days=100)
    await count(analytics, [(ended, end(person.user_id, used()))])
    watch(database, person)
    await close_days(analytics)
    file = tmp_path / "old.csv"
    file.write_text(
        "execution_id,user,engine_id,engine_name,model,input,cached,output,thoughts,tool,outcome,ended\n"
        f"{person.user_id},{person.user_id},book,A book,gemini-3.8-flash,100,0,10,0,0,completed,{ended.isoformat()}\n"
    )
    wanted = WantedImport(file=file, names=names_of(None), rejected=tmp_path / "rejected", dry_run=False)
    assert (await import_executions(analytics, wanted))["executions"] == 1
    assert await total(uma) == 116 + 110


SPOILED_ROLLUPS = (
    "UPDATE user_analytics SET input_tokens = input_tokens + 1 WHERE user_id = %s AND model <> ''"
)
SPOILED_DAYS = "UPDATE usage_days SET sums = '[0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0]' WHERE user_id = %s"
DAY_TOO_MUCH = """
INSERT INTO usage_days (user_id, timezone, start, sums, engines, models, kinds)
SELECT user_id, timezone, start - interval '3 days', '[5, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0]', '[]', '[]', '[]' FROM usage_days WHERE user_id = %s ORDER BY start LIMIT 1
"""


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(SPOILED_ROLLUPS, set()), (SPOILED_DAYS, {"other sums"}), (DAY_TOO_MUCH, {"surplus"})],
    ids=["rollups", "days", "a-day-too-much"],
)
async def test_a_rebuild_makes_days_anew(
    uma: httpx.AsyncClient,
    database: Database,
    person: Person,
    analytics: AsyncEngine,
    spoil: str,
    told: set[str],
) -> None:
    now, whose = datetime.now(UTC), person.user_id
    await count(analytics, [(now - timedelta(days=day), end(whose, used())) for day in range(0, 290, 10)])
    watch(database, person)
    await close_days(analytics)
    database.execute(spoil, whose)
    assert await total(uma) != 29 * 116
    assert {row["what"] for row in await wrong_days(analytics, person)} == told
    await rebuild(analytics)
    assert await total(uma) == 29 * 116
    assert await close_days(analytics) > 0
    assert await total(uma) == 29 * 116
    assert await wrong_days(analytics, person) == []


async def test_new_prices_leave_days_as_they_are(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    now, whose = datetime.now(UTC), person.user_id
    await count(analytics, [(now - timedelta(days=day), end(whose, used())) for day in range(0, 290, 10)])
    watch(database, person)
    await close_days(analytics)
    assert (await reprice.reprice(analytics, reprice.Wanted()))["changed"]
    assert await total(uma) == 29 * 116
    await close_days(analytics)
    assert await total(uma) == 29 * 116
    assert await wrong_days(analytics, person) == []


async def test_days_that_go_while_somebody_looks_are_in_the_answer(
    gateway: Gateway, uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    """Which are closed and what is in them is of one moment."""
    await count(analytics, some_ends(person, random.Random(4)))
    watch(database, person)
    await close_days(analytics)
    right, gone = await seen(uma), []

    def drop(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM usage_days" in statement:
            database.execute("DELETE FROM usage_zones WHERE user_id = %s", person.user_id)
            gone.append(statement)

    engine = gateway.parts.db.sync_engine
    event.listen(engine, "before_cursor_execute", drop)
    try:
        assert await seen(uma) == right
    finally:
        event.remove(engine, "before_cursor_execute", drop)
    assert gone


async def test_where_the_rules_of_a_zone_have_changed_its_days_are_made_anew(
    uma: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    """As if the zone had been an hour elsewhere when they were closed: the quarters are summed until then."""
    await count(analytics, some_ends(person, random.Random(3)))
    watch(database, person)
    right = await seen(uma)
    await close_days(analytics)
    for moved in ("usage_zones SET closed_until = closed_until", "usage_days SET start = start"):
        database.execute(f"UPDATE {moved} + interval '1 hour' WHERE user_id = %s", person.user_id)
    assert await seen(uma) == right
    database.execute(
        "UPDATE usage_zones SET closed_until = closed_until - interval '49 hours' WHERE user_id = %s",
        person.user_id,
    )
    assert await close_days(analytics) > 1
    assert await seen(uma) == right
    assert await wrong_days(analytics, person) == []
