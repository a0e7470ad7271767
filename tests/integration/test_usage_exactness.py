"""Rollups = sum of the ledger = what happened, whatever is repeated, cut, rebuilt and re-priced at the same time."""

import random
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.postgres import PostgresServer
from services.analytics.pricing import PriceList
from services.analytics.rebuild import Rebuilt, rebuild
from services.analytics.reprice import Wanted, reprice
from services.analytics.store import Store
from tests.support.exactness import storm
from tests.support.ledger import (
    USERS,
    arrive,
    end,
    expected,
    found,
    look_at_days,
    plain,
    rows,
)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_replays_by_two_replicas_cut_anywhere_with_rebuilds_in_the_middle_are_exact(
    ledger_server: PostgresServer, engine: AsyncEngine, seed: int
) -> None:
    look_at_days(ledger_server)
    prices = await Store(engine).prices()
    events = await storm(engine, random.Random(seed), prices, executions=400)
    assert found(ledger_server) == plain(expected(events, prices))
    assert await Store(engine).differences() == []


async def test_a_rebuild_puts_right_what_was_tampered_with_and_touches_nothing_else(
    ledger_server: PostgresServer, engine: AsyncEngine
) -> None:
    store, dice = Store(engine), random.Random(4)
    prices = await store.prices()
    events = [end(dice) for _ in range(200)]
    await store.count(arrive(events, prices))
    with psycopg.connect(ledger_server.url) as connection:
        changed = connection.execute(
            "UPDATE user_analytics SET calls = calls + 1 WHERE engine_id = 'a'"
        ).rowcount
        gone = connection.execute("DELETE FROM user_analytics WHERE engine_id = 'b'").rowcount
        connection.execute(
            "INSERT INTO user_analytics (user_id, analytics_type, bucket, engine_id, engine_name, model,"
            " model_type, completed) VALUES (%s, 'execution', '2020-01-01Z', 'x', 'X', '', 'none', 1)",
            [USERS[0]],
        )
    done = await rebuild(engine)
    assert (done.corrected, done.removed) == (changed + gone, 1)
    assert found(ledger_server) == plain(expected(events, prices))
    assert await rebuild(engine) == Rebuilt(rows=done.rows)


async def test_a_new_price_list_holds_for_the_whole_ledger_and_a_dry_run_changes_nothing(
    ledger_server: PostgresServer, engine: AsyncEngine
) -> None:
    store, dice = Store(engine), random.Random(5)
    prices = await store.prices()
    events = [end(dice) for _ in range(150)]
    await store.count(arrive(events, PriceList([])))
    unpriced = found(ledger_server)
    would = await reprice(engine, Wanted(dry_run=True))
    assert found(ledger_server) == unpriced
    did = await reprice(engine, Wanted())
    assert did["changed"] == would["changed"] != []
    assert found(ledger_server) == plain(expected(events, prices))
    total = rows(ledger_server, "SELECT sum(cost) AS cost FROM usage_ledger")[0]["cost"]
    assert sum(Decimal(one["after"]) for one in did["changed"]) == total
    assert (await reprice(engine, Wanted()))["changed"] == []


async def test_only_the_model_and_the_time_that_were_asked_for_are_priced_anew(
    ledger_server: PostgresServer, engine: AsyncEngine
) -> None:
    store, dice = Store(engine), random.Random(6)
    await store.count(arrive([end(dice) for _ in range(150)], PriceList([])))
    edge = rows(ledger_server, "SELECT max(bucket) AS edge FROM usage_ledger")[0]["edge"]
    await reprice(engine, Wanted(end=edge, model="gemini-2.5-pro"))
    priced = rows(
        ledger_server,
        "SELECT model, bucket FROM usage_ledger WHERE price_version IS NOT NULL AND total_tokens > 0",
    )
    assert {row["model"] for row in priced} == {"gemini-2.5-pro"}
    assert max(row["bucket"] for row in priced) < edge
    assert await store.differences() == []
