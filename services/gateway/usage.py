"""Routes of the caller's own token usage. There are no costs here."""

import csv
import io
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.gateway.auth import User
from services.gateway.parts import Parts, get_parts
from services.gateway.problems import FieldError, invalid
from services.gateway.resource import rfc3339
from services.gateway.usage_freshness import Freshness
from services.gateway.usage_queries import Bucket, Found, GroupBy, Wanted, local_start, recent, usage
from shared.usage import Certainty, Kind

router = APIRouter(prefix="/v1/usage", tags=["usage"])

COUNTS = ("input", "cached", "output", "thoughts", "tool", "total")
ENDS = ("completed", "stopped", "failed")
LIMITS = (5, 10, 50, 100)
CSV = "text/csv"
ZONE = r"^(?:Etc/GMT[+-][0-9]{1,2}|(?:EST5EDT|CST6CDT|MST7MDT|PST8PDT)|[A-Za-z][A-Za-z_]*(?:[/-][A-Za-z][A-Za-z_]*)*)$"
"""Names only: PostgreSQL would also take offsets such as `-99`, which are no place's time."""

GatewayParts = Annotated[Parts, Depends(get_parts)]


class TokenCounts(BaseModel):
    """`input` includes `cached`; `total` = input + output + thoughts + tool."""

    input: int
    cached: int
    output: int
    thoughts: int
    tool: int
    total: int
    certainty: Certainty


class Ends(BaseModel):
    completed: int
    stopped: int
    failed: int
    total: int


class UsageItem(BaseModel):
    """One bucket of one group. `executions` is absent where an execution may be in several groups."""

    bucket: datetime
    engine_id: str | None = None
    engine_name: str | None = None
    model: str | None = None
    kind: Literal["included", "payg"] | None = None
    tokens: TokenCounts
    executions: Ends | None = None


class UsageAnswer(BaseModel):
    """`from` and `to` are those that were asked for, widened to quarters of an hour."""

    items: list[UsageItem]
    totals: TokenCounts
    executions: Ends
    as_of: datetime | None
    lag_seconds: float | None
    timezone: str
    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")


class EngineName(BaseModel):
    id: str
    name: str


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


class UsedExecutions(BaseModel):
    items: list[UsedExecution]
    next_cursor: None = None


async def _freshness(request: Request, parts: GatewayParts) -> Freshness:
    """One for the application, so that it asks NATS once for all callers."""
    state = request.app.state
    if not hasattr(state, "usage_freshness"):
        state.usage_freshness = Freshness(parts.nc)
    found: Freshness = state.usage_freshness
    return found


@router.get(
    "",
    response_model=UsageAnswer,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}},
    summary="What the caller used",
)
async def get_usage(
    parts: GatewayParts,
    principal: User,
    freshness: Annotated[Freshness, Depends(_freshness)],
    start: Annotated[
        str | None, Query(alias="from", description="RFC 3339; default: 24 hours before `to`")
    ] = None,
    end: Annotated[str | None, Query(alias="to", description="RFC 3339, not included; default: now")] = None,
    bucket: Bucket = Bucket.HOUR,
    group_by: GroupBy | None = None,
    timezone: Annotated[str, Query(pattern=ZONE, max_length=64, description="IANA name")] = "UTC",
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    wanted = Wanted(
        start=_time("from", start), end=_time("to", end), bucket=bucket, group_by=group_by, timezone=timezone
    )
    fresh = await freshness.now()
    found = await usage(parts.db, principal.user_id, wanted)
    if _prefers_csv(accept):
        return Response(_csv(found, group_by), 200, _HEADERS | {"Content-Disposition": _ATTACHMENT}, CSV)
    body = {
        "items": [_item(item, group_by) for item in found.items],
        "totals": _tokens(found.totals),
        "executions": _ends(found.totals),
        "from": rfc3339(found.start),
        "to": rfc3339(found.end),
        "as_of": rfc3339(fresh.as_of),
        "lag_seconds": fresh.lag_seconds,
        "timezone": timezone,
    }
    return Response(orjson.dumps(body), 200, _HEADERS, "application/json")


@router.get(
    "/executions", response_model=UsedExecutions, summary="What the latest executions used, pruned ones too"
)
async def get_used_executions(
    parts: GatewayParts,
    principal: User,
    limit: Annotated[int, Query(json_schema_extra={"enum": list(LIMITS)})] = 10,
) -> Response:
    if limit not in LIMITS:
        raise invalid(
            "Some of the request's parameters are not valid.",
            [FieldError("limit", f"must be one of {LIMITS}")],
        )
    rows = await recent(parts.db, principal.user_id, limit)
    body = {"items": [_used(row) for row in rows], "next_cursor": None}
    return Response(orjson.dumps(body), 200, _HEADERS, "application/json")


_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}
_ATTACHMENT = 'attachment; filename="usage.csv"'


def _time(field: str, given: str | None) -> datetime | None:
    """Raises: Problem 422. A plus sign that was not escaped arrives as a space."""
    if given is None:
        return None
    try:
        return datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given)
    except ValueError:
        fault = FieldError(field, "is not a time such as 2026-11-01T00:00:00Z, nor a date")
        raise invalid("Some of the request's parameters are not valid.", [fault]) from None


def _prefers_csv(accept: str | None) -> bool:
    """Whether CSV is named, and JSON is not named before it."""
    names = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    return CSV in names and "application/json" not in names[: names.index(CSV)]


def _tokens(row: Row[Any]) -> dict[str, Any]:
    certainty = Certainty.MEASURED
    if row.unknown_calls:
        certainty = Certainty.UNKNOWN
    elif row.estimated_calls:
        certainty = Certainty.ESTIMATED
    return {**{name: getattr(row, name) or 0 for name in COUNTS}, "certainty": certainty.value}


def _ends(row: Row[Any]) -> dict[str, int]:
    ends = {name: getattr(row, name) or 0 for name in ENDS}
    return {**ends, "total": sum(ends.values())}


def _item(row: Row[Any], group_by: GroupBy | None) -> dict[str, Any]:
    item: dict[str, Any] = {"bucket": _start(row), **_group(row, group_by), "tokens": _tokens(row)}
    if group_by in (None, GroupBy.ENGINE):
        item["executions"] = _ends(row)
    return item


def _start(row: Row[Any]) -> str:
    return local_start(row).isoformat().replace("+00:00", "Z")


def _group(row: Row[Any], group_by: GroupBy | None) -> dict[str, str]:
    match group_by:
        case None:
            return {}
        case GroupBy.ENGINE:
            return {"engine_id": row.key, "engine_name": row.name}
        case GroupBy.MODEL | GroupBy.KIND:
            return {group_by.value: row.key}


def _csv(found: Found, group_by: GroupBy | None) -> str:
    """The items, a line each; every line has the same columns as the first."""
    names = {GroupBy.ENGINE: ["engine_id", "engine_name"], GroupBy.MODEL: ["model"], GroupBy.KIND: ["kind"]}
    groups = names[group_by] if group_by is not None else []
    ends = [] if group_by in (GroupBy.MODEL, GroupBy.KIND) else list(ENDS)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["bucket", *groups, *COUNTS, "certainty", *ends])
    for row in found.items:
        group = [_harmless(value) for value in _group(row, group_by).values()]
        writer.writerow([_start(row), *group, *_tokens(row).values(), *(getattr(row, name) for name in ends)])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """Spreadsheets run what begins like a formula; an apostrophe makes it text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _used(row: Row[Any]) -> dict[str, Any]:
    began = row.started_at
    return {
        "id": row.id,
        "engine": {"id": row.engine_id, "name": row.engine_name},
        "status": row.outcome,
        "kind": row.kind,
        "tokens": _tokens(row),
        "models": row.models,
        "created_at": rfc3339(row.requested_at),
        "started_at": rfc3339(began),
        "ended_at": rfc3339(row.ended_at),
        "duration_seconds": max(0.0, (row.ended_at - began).total_seconds()) if began else None,
    }
