"""Routes of the caller's own token usage. There are no costs here."""

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel
from sqlalchemy import Row

from services.gateway.auth import User
from services.gateway.parts import Parts, get_parts
from services.gateway.resource import rfc3339
from services.gateway.usage_freshness import UsageFreshness
from services.gateway.usage_periods import Bucket, wrong
from services.gateway.usage_queries import Found, GroupBy, Used, Wanted, recent, refuse_too_many, usage
from services.gateway.usage_rows import (
    COUNTS,
    CSV,
    CSV_TOO,
    ENDS,
    HEADERS,
    Accept,
    Ends,
    EngineName,
    FreshAnswer,
    PeriodAnswer,
    TokenCounts,
    Until,
    Zone,
    counts,
    csv_answer,
    ends_of,
    figures,
    fresh_json,
    period_json,
    prefers_csv,
    since,
    start_text,
    time_of,
    tokens_of,
)
from shared.usage import Kind

router = APIRouter(prefix="/v1/usage", tags=["usage"])

LIMITS = (5, 10, 50, 100)
_REMEMBERED, _SHORT = 4_096, 1_000
"""So many days, of at most so many characters each, are kept as they were written, which takes longer than all else: some 5 MB,
40 at most. Of a year that somebody looks at every now and then, all days but a few are told as they were.
"""
GatewayParts = Annotated[Parts, Depends(get_parts)]


class UsageItem(BaseModel):
    """One bucket of one group. `executions` is absent where an execution may be in several groups."""

    bucket: datetime
    engine_id: str | None = None
    engine_name: str | None = None
    model: str | None = None
    kind: Literal["included", "payg"] | None = None
    tokens: TokenCounts
    executions: Ends | None = None


class UsageAnswer(PeriodAnswer):
    items: list[UsageItem]
    totals: TokenCounts
    executions: Ends


class UsedExecution(BaseModel):
    id: str
    engine: EngineName
    status: Literal["completed", "stopped", "failed"]
    kind: Kind
    tokens: TokenCounts
    models: list[str]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime
    duration_seconds: float | None


class UsedExecutions(FreshAnswer):
    items: list[UsedExecution]
    next_cursor: None = None


@router.get(
    "",
    response_model=UsageAnswer,
    responses=CSV_TOO,
    summary="What the caller used",
)
async def get_usage(
    parts: GatewayParts,
    principal: User,
    freshness: UsageFreshness,
    start: Annotated[str | None, since("24 hours", "hour or day")] = None,
    end: Until = None,
    bucket: Bucket = Bucket.HOUR,
    group_by: GroupBy | None = None,
    timezone: Zone = "UTC",
    accept: Accept = None,
) -> Response:
    wanted = Wanted(
        start=time_of("from", start),
        end=time_of("to", end),
        bucket=bucket,
        group_by=group_by,
        timezone=timezone,
        whole=bucket,
    )
    fresh = await freshness.now()
    found = await usage(parts.db, principal.user_id, wanted)
    if prefers_csv(accept):
        return _csv(found, group_by)
    body = {
        "items": _list(found, bucket, group_by),
        "totals": tokens_of(found.totals),
        "executions": ends_of(found.totals),
        **period_json(found.start, found.end, fresh, timezone),
    }
    return Response(orjson.dumps(body), 200, HEADERS, "application/json")


@router.get(
    "/executions",
    response_model=UsedExecutions,
    responses=CSV_TOO,
    summary="What the latest executions used, pruned ones too",
)
async def get_used_executions(
    parts: GatewayParts,
    principal: User,
    freshness: UsageFreshness,
    limit: Annotated[int, Query(json_schema_extra={"enum": list(LIMITS)})] = 10,
    accept: Accept = None,
) -> Response:
    if limit not in LIMITS:
        raise wrong("limit", f"must be one of {', '.join(map(str, LIMITS))}")
    fresh = await freshness.now()
    items = [_used(row) for row in await recent(parts.db, principal.user_id, limit)]
    if prefers_csv(accept):
        return _used_csv(items)
    body = {"items": items, "next_cursor": None, **fresh_json(fresh)}
    return Response(orjson.dumps(body), 200, HEADERS, "application/json")


class _Written(NamedTuple):
    """Items as JSON, without brackets."""

    text: bytes
    items: int


def _write(used: Used, group_by: GroupBy | None) -> _Written:
    items = _items(used, group_by)
    return _Written(orjson.dumps(items)[1:-1], len(items))


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_write)


def _list(found: Found, bucket: Bucket, group_by: GroupBy | None) -> orjson.Fragment:
    """All items. Raises: Problem 422."""
    texts, items = list[bytes](), 0
    for used in found.used:
        # Hours of a year would drive out everybody's days.
        write = _remembered if bucket is Bucket.DAY and len(used.groups) <= _SHORT else _write
        text, more = write(used, group_by)
        items += more
        refuse_too_many(items)
        if more:
            texts.append(text)
    return orjson.Fragment(b"[%b]" % b",".join(texts))


def _items(used: Used, group_by: GroupBy | None) -> list[dict[str, Any]]:
    item, bucket = _ITEMS[group_by], start_text(used.here, used.east)
    return [item(bucket, *group) for group in orjson.loads(used.groups)]


# Each of these takes the bucket, then what a group's list has.


def _of_all(bucket: str, *sums: int) -> dict[str, Any]:
    return {"bucket": bucket, **figures(*sums)}


def _of_engine(bucket: str, engine_id: str, engine_name: str, *sums: int) -> dict[str, Any]:
    return {"bucket": bucket, "engine_id": engine_id, "engine_name": engine_name, **figures(*sums)}


def _of_model(bucket: str, model: str, *sums: int) -> dict[str, Any]:
    return {"bucket": bucket, "model": model, "tokens": counts(*sums[:-3])}


def _of_kind(bucket: str, kind: str, *sums: int) -> dict[str, Any]:
    return {"bucket": bucket, "kind": kind, "tokens": counts(*sums[:-3])}


_ITEMS: dict[GroupBy | None, Callable[..., dict[str, Any]]] = {
    None: _of_all,
    GroupBy.ENGINE: _of_engine,
    GroupBy.MODEL: _of_model,
    GroupBy.KIND: _of_kind,
}


def _csv(found: Found, group_by: GroupBy | None) -> Response:
    names = {GroupBy.ENGINE: ["engine_id", "engine_name"], GroupBy.MODEL: ["model"], GroupBy.KIND: ["kind"]}
    groups = names[group_by] if group_by is not None else []
    outcomes = [] if group_by in (GroupBy.MODEL, GroupBy.KIND) else list(ENDS)
    items = list[dict[str, Any]]()
    for used in found.used:
        items += _items(used, group_by)
        refuse_too_many(len(items))
    lines = (
        (
            *(item[name] for name in ("bucket", *groups)),
            *item["tokens"].values(),
            *(item["executions"][outcome] for outcome in outcomes),
        )
        for item in items
    )
    text, headers = csv_answer("usage", ["bucket", *groups, *COUNTS, "certainty", *outcomes], lines)
    return Response(text, 200, headers, CSV)


def _used(row: Row[Any]) -> dict[str, Any]:
    began = row.started_at
    return {
        "id": row.id,
        "engine": {"id": row.engine_id, "name": row.engine_name},
        "status": row.outcome,
        "kind": row.kind,
        "tokens": tokens_of(row),
        "models": row.models,
        "created_at": rfc3339(row.requested_at),
        "started_at": rfc3339(began),
        "ended_at": rfc3339(row.ended_at),
        "duration_seconds": max(0.0, (row.ended_at - began).total_seconds()) if began else None,
    }


_TIMES = ("created_at", "started_at", "ended_at", "duration_seconds")


def _used_csv(items: Sequence[dict[str, Any]]) -> Response:
    lines = (
        (
            item["id"],
            *item["engine"].values(),
            item["status"],
            item["kind"],
            *item["tokens"].values(),
            " ".join(item["models"]),
            *(item[name] for name in _TIMES),
        )
        for item in items
    )
    columns = ("id", "engine_id", "engine_name", "status", "kind", *COUNTS, "certainty", "models", *_TIMES)
    text, headers = csv_answer("executions", columns, lines)
    return Response(text, 200, headers, CSV)
