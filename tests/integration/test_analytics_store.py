"""Ledger and rollups against a real ledger_server: each execution once, whoever repeats it, and the bad one alone aside."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.postgres import PostgresServer
from services.analytics.pricing import PriceList
from services.analytics.store import Arrived, Reject, Store
from shared import events as ev
from shared.db import make_engine
from shared.errors import Unavailable
from shared.ids import new_id
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens
from tests.support.ledger import (
    USERS,
    arrive,
    end,
    expected,
    found,
    plain,
    rows,
)


@pytest.fixture
def store(engine: AsyncEngine) -> Store:
    return Store(engine)


async def test_rollups_are_the_sum_of_the_events_to_the_tenth_decimal(
    ledger_server: PostgresServer, store: Store
) -> None:
    dice, prices = random.Random(1), await store.prices()
    events = [end(dice) for _ in range(400)]
    counted = await store.count(arrive(events, prices))
    assert (counted.new, counted.rejects) == (400, [])
    assert found(ledger_server) == plain(expected(events, prices))
    assert await store.differences() == []


async def test_repeats_count_once_however_batches_are_cut(
    ledger_server: PostgresServer, store: Store
) -> None:
    dice, prices = random.Random(2), await store.prices()
    events = [end(dice) for _ in range(120)]
    replayed = [*events, *dice.choices(events, k=200)]
    dice.shuffle(replayed)
    new = 0
    while replayed:
        size = dice.randint(1, 60)
        batch, replayed = replayed[:size], replayed[size:]
        new += (await store.count(arrive(batch, prices))).new
    assert new == 120
    assert found(ledger_server) == plain(expected(events, prices))
    assert await store.differences() == []


async def test_writers_that_count_the_same_events_at_once_count_them_once(
    ledger_server: PostgresServer, store: Store
) -> None:
    dice, prices = random.Random(3), await store.prices()
    events = [end(dice) for _ in range(300)]

    async def replay(seed: int) -> int:
        order = list(events)
        random.Random(seed).shuffle(order)
        batches = [order[start : start + 50] for start in range(0, len(order), 50)]
        return sum([(await store.count(arrive(batch, prices))).new for batch in batches])

    assert sum(await asyncio.gather(*map(replay, range(4)))) == 300
    assert found(ledger_server) == plain(expected(events, prices))
    assert await store.differences() == []


@pytest.mark.parametrize(
    ("ended", "bucket"),
    [
        ("2026-11-22T18:15:00+00:00", "2026-11-22T18:15:00+00:00"),
        ("2026-11-22T18:14:59.999999+00:00", "2026-11-22T18:00:00+00:00"),
        ("2026-11-23T00:00:01+05:45", "2026-11-22T18:15:00+00:00"),
        ("1999-12-31T23:59:59+00:00", "1999-12-31T23:45:00+00:00"),
    ],
    ids=["on it", "just before it", "in another zone", "before the origin of the bins"],
)
async def test_a_bucket_starts_on_the_quarter_of_an_hour_in_utc(
    ledger_server: PostgresServer, store: Store, ended: str, bucket: str
) -> None:
    event = replace(end(random.Random(12)), time=datetime.fromisoformat(ended))
    await store.count(arrive([event], await store.prices()))
    found = rows(ledger_server, "SELECT bucket FROM usage_ledger UNION SELECT bucket FROM user_analytics")
    assert [row["bucket"] for row in found] == [datetime.fromisoformat(bucket)]


async def test_a_second_end_of_one_execution_is_not_counted(
    ledger_server: PostgresServer, store: Store
) -> None:
    dice, prices = random.Random(4), await store.prices()
    first = end(dice)
    second = replace(end(dice), execution_id=first.execution_id)
    assert (await store.count(arrive([first, second], prices))).new == 1
    assert (await store.count(arrive([second], prices))).new == 0
    assert found(ledger_server) == plain(expected([first], prices))


async def test_no_token_row_without_tokens_and_one_count_for_each_end(
    ledger_server: PostgresServer, store: Store
) -> None:
    unknown = ModelUsage(model="m", tier=Tier.PAYG, tokens=Tokens(certainty=Certainty.UNKNOWN))
    event = end(random.Random(5), usage=(unknown,))
    await store.count(arrive([event], await store.prices()))
    [row] = rows(ledger_server, "SELECT * FROM user_analytics")
    assert (row["analytics_type"], row["unknown_calls"], row["total_tokens"]) == ("execution", 1, 0)
    assert row["completed"] + row["stopped"] + row["failed"] == 1


def _bad(dice: random.Random) -> dict[str, ev.Recorded]:
    return {
        "unknown_user": end(dice, user_id=new_id()),
        "bad_value": end(dice, engine=ev.EngineRef(id="a", name="nul \0 inside", version=1)),
        "too_many": end(dice, usage=(ModelUsage(model="m", tier=Tier.PAYG, tokens=Tokens(output=10**30)),)),
    }


async def test_of_a_batch_that_is_refused_only_the_bad_events_are_set_aside(
    ledger_server: PostgresServer, store: Store
) -> None:
    dice, prices = random.Random(6), await store.prices()
    good, bad = [end(dice) for _ in range(97)], _bad(dice)
    batch = [*good, *bad.values()]
    dice.shuffle(batch)
    counted = await store.count(arrive(batch, prices))
    assert counted.new == 97
    assert {reject.origin.event_id: reject.reason for reject in counted.rejects} == {
        bad["unknown_user"].message_id: "unknown_user",
        bad["bad_value"].message_id: "bad_value",
        bad["too_many"].message_id: "bad_value",
    }
    for _ in range(2):
        await store.set_aside(counted.rejects)
    kept = rows(ledger_server, "SELECT event_id, body FROM usage_rejects")
    assert {row["event_id"]: row["body"] for row in kept} == {
        event.message_id: ev.encode(event.event) for event in bad.values()
    }
    assert found(ledger_server) == plain(expected(good, prices))


async def test_what_was_set_aside_may_say_anything(store: Store) -> None:
    [arrived] = arrive([end(random.Random(7))], PriceList([]))
    await store.set_aside([Reject(origin=arrived.origin, reason="unreadable", detail="a \0 b")])


async def test_a_price_that_is_not_known_is_null_in_the_ledger(
    ledger_server: PostgresServer, store: Store
) -> None:
    parts = tuple(
        ModelUsage(model=model, tier=Tier.PAYG, tokens=Tokens(output=1_000_000))
        for model in ("gemini-3.8-flash", "stranger")
    )
    await store.count(arrive([end(random.Random(8), usage=parts)], await store.prices()))
    query = "SELECT model, cost, price_version IS NULL AS unpriced FROM usage_ledger WHERE line > 0 ORDER BY model"
    assert [tuple(row.values()) for row in rows(ledger_server, query)] == [
        ("gemini-3.8-flash", Decimal("3.75"), False),
        ("stranger", None, True),
    ]


async def test_a_tampered_rollup_shows_as_a_difference(ledger_server: PostgresServer, store: Store) -> None:
    await store.count(arrive([end(random.Random(9))], await store.prices()))
    with psycopg.connect(ledger_server.url) as connection:
        connection.execute("UPDATE user_analytics SET calls = calls + 1 WHERE analytics_type = 'execution'")
    assert {row["what"] for row in await store.differences()} == {"missing", "surplus"}


async def test_a_database_that_is_away_is_unavailable_and_sets_nothing_aside() -> None:
    nowhere = make_engine("postgresql://nobody@127.0.0.1:1/none", application="test")
    batch: Sequence[Arrived] = arrive([end(random.Random(10)) for _ in range(4)], PriceList([]))
    with pytest.raises(Unavailable):
        await Store(nowhere).count(batch)
    await nowhere.dispose()


BEFORE, AFTER = datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answered", "time", "long_context", "cost"),
    [
        # a million each of input (a tenth of it cached), output and thoughts
        ("gemini-3.8-flash", BEFORE, False, "8.1825"),
        ("gemini-3.8-flash", AFTER, False, "16.365"),
        ("gemini-3.8-flash-001", BEFORE, False, "8.1825"),
        ("gemini-3.8-flash-001", AFTER, False, "16.365"),
        ("gemini-3.5-flash-lite", AFTER, False, "5.273"),
        ("gemini-2.5-pro", BEFORE, False, "21.1375"),
        ("gemini-2.5-pro", BEFORE, True, "32.275"),
        ("gemini-3.8-flash-preview", BEFORE, False, None),
        ("gemini-1.5-flash", BEFORE, False, None),
    ],
)
async def test_the_ledger_has_the_model_that_answered_at_the_price_of_its_day(
    store: Store,
    ledger_server: PostgresServer,
    answered: str,
    time: datetime,
    long_context: bool,
    cost: str | None,
) -> None:
    tokens = Tokens(input=1_000_000, cached=100_000, output=1_000_000, thoughts=1_000_000)
    used = ModelUsage(model=answered, tier=Tier.INCLUDED, tokens=tokens, long_context=long_context)
    summary = ev.Summary(
        user_id=USERS[0],
        engine=ev.EngineRef(id="a", name="One", version=1),
        kind=Kind.INCLUDED,
        attempt=1,
        requested_at=time,
        usage=(used,),
    )
    event = ev.ExecutionCompleted(summary=summary, output="x")
    recorded = ev.Recorded(execution_id=new_id(), event=event, seq=1, time=time, after=1, message_id=new_id())
    await store.count(arrive([recorded], await store.prices()))
    (line,) = rows(ledger_server, "SELECT model, cost, total_tokens FROM usage_ledger WHERE line = 1")
    assert (line["model"], line["total_tokens"]) == (answered, 3_000_000)
    assert line["cost"] == (Decimal(cost) if cost else None)
