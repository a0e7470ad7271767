"""How the caller's engines fared over a period: runs, success, mean tokens and duration. There are no costs here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.auth import User
from services.gateway.parts import Parts, get_parts
from services.gateway.usage_freshness import UsageFreshness
from services.gateway.usage_periods import Period, bounds
from services.gateway.usage_rows import (
    CSV,
    CSV_TOO,
    ENDS,
    HEADERS,
    Accept,
    EngineName,
    PeriodAnswer,
    Until,
    Zone,
    csv_answer,
    period_json,
    prefers_csv,
    since,
    time_of,
    tokens_of,
)
from shared.db import Role, transaction
from shared.usage import Certainty
from shared.usage_sums import ALL_SUMS

router = APIRouter(prefix="/v1/usage", tags=["usage"])

DAYS = 30
_RATE_DIGITS = 4
_INSIGHTS = text(f"""
SELECT engine_id, (array_agg(engine_name ORDER BY bucket DESC))[1] AS engine_name,
    {ALL_SUMS},
    sum(completed + stopped + failed)::bigint AS runs, sum(started)::bigint AS started,
    sum(duration_ms)::bigint AS duration_ms
FROM user_analytics WHERE user_id = CAST(:user_id AS uuid) AND bucket >= :start AND bucket < :end
GROUP BY engine_id HAVING sum(completed + stopped + failed) > 0 ORDER BY runs DESC, engine_id
""")  # noqa: S608 - the columns are ours


class Insight(BaseModel):
    """One engine, under its newest name. `success_rate` is the share of its runs that completed, 0 to 1.

    `mean_tokens` is over all runs; `mean_duration_seconds` over those that were started, null when none was.
    `certainty` is that of the tokens.
    """

    engine: EngineName
    runs: int
    completed: int
    stopped: int
    failed: int
    success_rate: float
    mean_tokens: float
    mean_duration_seconds: float | None
    certainty: Certainty


class Insights(PeriodAnswer):
    items: list[Insight]


@router.get(
    "/insights",
    response_model=Insights,
    responses=CSV_TOO,
    summary="How the caller's engines fared: runs, success rate, mean tokens and duration",
)
async def get_insights(
    parts: Annotated[Parts, Depends(get_parts)],
    principal: User,
    freshness: UsageFreshness,
    start: Annotated[str | None, since(f"{DAYS} days", "hour")] = None,
    end: Until = None,
    timezone: Zone = "UTC",
    accept: Accept = None,
) -> Response:
    wanted = Period(start=time_of("from", start), end=time_of("to", end), timezone=timezone, days=DAYS)
    fresh = await freshness.now()
    begun, ended, rows = await _read(parts.db, principal.user_id, wanted)
    items = [_insight(row) for row in rows]
    if prefers_csv(accept):
        return _csv(items)
    body = {
        "items": items,
        **period_json(begun, ended, fresh, timezone),
    }
    return Response(orjson.dumps(body), 200, HEADERS, "application/json")


async def _read(
    db: AsyncEngine, user_id: str, wanted: Period
) -> tuple[datetime, datetime, Sequence[Row[Any]]]:
    """Raises: Problem 422 for a range or a zone that can not be; Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        start, end = await bounds(connection, wanted)
        values = {"user_id": user_id, "start": start, "end": end}
        return start, end, (await connection.execute(_INSIGHTS, values)).all()


def _insight(row: Row[Any]) -> dict[str, Any]:
    return {
        "engine": {"id": row.engine_id, "name": row.engine_name},
        "runs": row.runs,
        **{end: getattr(row, end) for end in ENDS},
        "success_rate": round(row.completed / row.runs, _RATE_DIGITS),
        "mean_tokens": round(row.total_tokens / row.runs, 1),
        "mean_duration_seconds": round(row.duration_ms / row.started / 1000, 3) if row.started else None,
        "certainty": tokens_of(row)["certainty"],
    }


def _csv(items: Sequence[dict[str, Any]]) -> Response:
    figures = ["runs", *ENDS, "success_rate", "mean_tokens", "mean_duration_seconds", "certainty"]
    lines = (
        (item["engine"]["id"], item["engine"]["name"], *(item[name] for name in figures)) for item in items
    )
    content, headers = csv_answer("insights", ["engine_id", "engine_name", *figures], lines)
    return Response(content, 200, headers, CSV)
