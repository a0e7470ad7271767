"""Ends of executions drawn at random, counted, and added up in another way to compare with."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.postgres import PostgresServer
from services.analytics.ended import Ended, ended
from services.analytics.pricing import PriceList
from services.analytics.rollup import entry_of
from services.analytics.store import Arrived
from shared import events as ev
from shared.db import make_engine
from shared.ids import new_id
from shared.messages import MESSAGE_ID
from shared.subjects import event_subject
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens
from tests.support.postgres import migrated_server, service_url

TIME = datetime(2026, 11, 13, 23, 0, tzinfo=UTC)
"""Long enough ago that its days can be closed."""
USERS = tuple(new_id() for _ in range(5))
CLEAN = "TRUNCATE usage_ledger, user_analytics, usage_rejects"


@contextmanager
def ledger_database(folder: Path) -> Iterator[PostgresServer]:
    """With the tables, a password for analytics, and `USERS`."""
    with migrated_server(folder) as running:
        with psycopg.connect(running.url) as connection:
            for user in USERS:
                connection.execute("INSERT INTO users (id, display_name) VALUES (%s, 'somebody')", [user])
        yield running


@asynccontextmanager
async def clean_ledger(server: PostgresServer) -> AsyncIterator[AsyncEngine]:
    """Nothing is counted yet. The engine is that of analytics."""
    with psycopg.connect(server.url) as connection:
        connection.execute(CLEAN)
    made = make_engine(service_url(server, "analytics"), application="test", pool_size=8)
    yield made
    await made.dispose()


def look_at_days(server: PostgresServer) -> None:
    """Everybody's days are kept from now on, in zones whose midnights differ."""
    with psycopg.connect(server.url) as connection:
        for user in USERS:
            for zone in ("America/St_Johns", "Asia/Kathmandu", "UTC"):
                connection.execute(
                    "INSERT INTO usage_zones (user_id, timezone) VALUES (%s, %s)", [user, zone]
                )


def rows(server: PostgresServer, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(server.url, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def usage(dice: random.Random) -> ModelUsage:
    certainty = dice.choice(list(Certainty))
    some = certainty is not Certainty.UNKNOWN
    tokens = Tokens(
        input=dice.randint(50, 900) if some else 0,
        cached=dice.randint(0, 50) if some else 0,
        output=dice.randint(0, 900) if some else 0,
        thoughts=dice.randint(0, 90) if some else 0,
        tool=dice.randint(0, 9) if some else 0,
        certainty=certainty,
    )
    model = dice.choice(["gemini-3.8-flash", "gemini-2.5-pro", "nobody-knows-its-price"])
    return ModelUsage(
        model=model,
        tier=dice.choice(list(Tier)),
        tokens=tokens,
        calls=dice.randint(1, 3),
        long_context=dice.random() < 0.2,
    )


def end(dice: random.Random, **changed: Any) -> ev.Recorded:
    time = TIME + timedelta(seconds=dice.randint(0, 7200), microseconds=dice.randint(0, 999_999))
    given = {
        "user_id": dice.choice(USERS),
        "engine": ev.EngineRef(id=dice.choice(["a", "b"]), name=dice.choice(["One", "Two"]), version=1),
        "kind": Kind.MIXED,
        "attempt": 1,
        "requested_at": time - timedelta(seconds=60),
        "started_at": dice.choice([None, time - timedelta(milliseconds=dice.randint(0, 50_000))]),
        "usage": tuple(usage(dice) for _ in range(dice.randint(0, 4))),
    }
    summary = ev.Summary.model_validate(given | changed)
    ends: list[ev.TerminalEvent] = [
        ev.ExecutionCompleted(summary=summary, output="x"),
        ev.ExecutionStopped(summary=summary, stop=ev.StopInfo(by="me", at=time)),
        ev.ExecutionFailed(summary=summary, error=ev.ErrorInfo(code="c", message="m")),
    ]
    event = dice.choice(ends)
    return ev.Recorded(
        execution_id=new_id(),
        event=event,
        seq=dice.randint(1, 10**9),
        time=time,
        after=1,
        message_id=new_id(),
    )


def bucket_of(time: datetime) -> datetime:
    """Start of the 15 minutes that `time` lies in, UTC."""
    return time.astimezone(UTC) - (time - datetime.fromtimestamp(0, UTC)) % timedelta(minutes=15)


def arrive(events: Iterable[ev.Recorded], prices: PriceList) -> list[Arrived]:
    read = [ended_of(event) for event in events]
    return [Arrived(seq=one.seq, body=one.body, entry=entry_of(one, prices)) for one in read]


def ended_of(recorded: ev.Recorded) -> Ended:
    """As analytics reads it."""
    message = Msg(
        _client=Client(),
        subject=event_subject(recorded.execution_id, recorded.event.type),
        reply=f"$JS.ACK.EXECUTIONS.analytics.1.{recorded.seq}.1.{_nanoseconds(recorded.time)}.0",
        data=ev.encode(recorded.event),
        headers={MESSAGE_ID: recorded.message_id} if recorded.message_id else None,
    )
    return ended(message)


def _nanoseconds(time: datetime) -> int:
    return (time - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def expected(events: Iterable[ev.Recorded], prices: PriceList) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rollups, added up in another way: event by event, in Python."""
    sums: dict[tuple[Any, ...], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for event in events:
        assert isinstance(event.event, ev.ExecutionCompleted | ev.ExecutionStopped | ev.ExecutionFailed)
        summary = event.event.summary
        place = (summary.user_id, bucket_of(event.time), summary.engine.id, summary.engine.name)
        whole = sums["execution", *place, "", "none"]
        whole[event.event.type] += 1
        if summary.started_at is not None:
            whole["started"] += 1
            whole["duration_ms"] += round((event.time - summary.started_at) / timedelta(milliseconds=1))
        for part in summary.usage:
            targets = [whole]
            if part.tokens.total:
                targets.append(sums["token_usage", *place, part.model, part.tier.value])
                _add_tokens(targets[1], part, prices, event.time)
            for target in targets:
                target["calls"] += part.calls
                if part.tokens.certainty is not Certainty.MEASURED:
                    target[f"{part.tokens.certainty}_calls"] += part.calls
    return sums


def _add_tokens(target: dict[str, Any], part: ModelUsage, prices: PriceList, at: datetime) -> None:
    for kind in ("input", "cached", "output", "thoughts", "tool"):
        target[f"{kind}_tokens"] += getattr(part.tokens, kind)
    target["total_tokens"] += part.tokens.total
    cost = prices.cost(part, at)
    if cost is None:
        target["unpriced_tokens"] += part.tokens.total
    else:
        target["total_cost"] += cost.amount


def found(server: PostgresServer) -> dict[tuple[Any, ...], dict[str, Any]]:
    key = ("analytics_type", "user_id", "bucket", "engine_id", "engine_name", "model", "model_type")
    result = {}
    for row in rows(server, "SELECT * FROM user_analytics"):
        row["user_id"] = str(row["user_id"])
        place = tuple(row.pop(name) for name in key)
        del row["date_hour"]
        result[place] = {name: value for name, value in row.items() if value}
    return result


def plain(sums: dict[tuple[Any, ...], dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {key: {name: value for name, value in row.items() if value} for key, row in sums.items()}
