"""Usage of everybody, with costs: only for superadmins. Costs are exact decimals, as text."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.gateway.auth import Superadmin
from services.gateway.parts import Parts, get_parts
from services.gateway.usage_admin_queries import (
    AdminBucket,
    AdminFound,
    AdminGroup,
    AdminWanted,
    admin_usage,
)
from services.gateway.usage_freshness import UsageFreshness
from services.gateway.usage_periods import Bucket
from services.gateway.usage_rows import (
    COUNTS,
    CSV,
    CSV_TOO,
    ENDS,
    HEADERS,
    Accept,
    Ends,
    PeriodAnswer,
    TokenCounts,
    Until,
    Zone,
    csv_answer,
    decimal_text,
    ends_of,
    period_json,
    prefers_csv,
    since,
    start_text,
    time_of,
    tokens_of,
)

router = APIRouter(prefix="/v1/admin/usage", tags=["admin"])

_COLUMNS = {
    AdminGroup.USER: ("user_id", "user_name"),
    AdminGroup.ENGINE: ("engine_id", "engine_name"),
    AdminGroup.MODEL: ("model",),
    AdminGroup.KIND: ("kind",),
}
_BY_MODEL = (AdminGroup.MODEL, AdminGroup.KIND)

CostText = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{10}$", examples=["0.0062550000"])]


class AdminUsageItem(BaseModel):
    """One bucket of one group. `executions` is absent where an execution may be in several groups.

    `cost` in USD is that of the tokens with a price; `unpriced_tokens` are the others. The `user_name` of somebody who
    was erased is `deleted user`.
    """

    bucket: datetime
    user_id: str | None = None
    user_name: str | None = None
    engine_id: str | None = None
    engine_name: str | None = None
    model: str | None = None
    kind: Literal["included", "payg"] | None = None
    tokens: TokenCounts
    cost: CostText
    unpriced_tokens: int
    executions: Ends | None = None


class AdminUsage(PeriodAnswer):
    items: list[AdminUsageItem]
    totals: TokenCounts
    cost: CostText
    unpriced_tokens: int
    currency: Literal["USD"] = "USD"
    executions: Ends


@router.get(
    "",
    response_model=AdminUsage,
    responses=CSV_TOO,
    summary="What all users used, or one, and what it cost",
)
async def get_admin_usage(
    parts: Annotated[Parts, Depends(get_parts)],
    _: Superadmin,
    freshness: UsageFreshness,
    start: Annotated[str | None, since("30 days", "hour or day")] = None,
    end: Until = None,
    bucket: AdminBucket = AdminBucket.DAY,
    group_by: AdminGroup | None = None,
    user: Annotated[UUID | None, Query(description="Only of this one")] = None,
    timezone: Zone = "UTC",
    accept: Accept = None,
) -> Response:
    wanted = AdminWanted(
        start=time_of("from", start),
        end=time_of("to", end),
        bucket=bucket,
        group_by=group_by,
        user_id=str(user) if user else None,
        timezone=timezone,
        days=30,
        whole=Bucket.HOUR if bucket is AdminBucket.HOUR else Bucket.DAY,
    )
    fresh = await freshness.now()
    found = await admin_usage(parts.db, wanted)
    if prefers_csv(accept):
        return _csv(found, group_by)
    body = {
        "items": [_item(row, group_by) for row in found.items],
        "totals": tokens_of(found.totals),
        **_cost(found.totals),
        "currency": "USD",
        "executions": ends_of(found.totals),
        **period_json(found.start, found.end, fresh, timezone),
    }
    return Response(orjson.dumps(body), 200, HEADERS, "application/json")


def _cost(row: Row[Any]) -> dict[str, Any]:
    return {"cost": decimal_text(row.cost), "unpriced_tokens": row.unpriced_tokens or 0}


def _item(row: Row[Any], group_by: AdminGroup | None) -> dict[str, Any]:
    item = {
        "bucket": start_text(row.here, row.east),
        **_group(row, group_by),
        "tokens": tokens_of(row),
        **_cost(row),
    }
    if group_by not in _BY_MODEL:
        item["executions"] = ends_of(row)
    return item


def _group(row: Row[Any], group_by: AdminGroup | None) -> dict[str, Any]:
    names = _COLUMNS[group_by] if group_by else ()
    return dict(zip(names, (row.key, row.called), strict=False))


def _csv(found: AdminFound, group_by: AdminGroup | None) -> Response:
    """The items, a line each."""
    ends = () if group_by in _BY_MODEL else ENDS
    groups = _COLUMNS[group_by] if group_by else ()
    columns = ("bucket", *groups, *COUNTS, "certainty", "cost", "unpriced_tokens", *ends)
    lines = (
        (
            start_text(row.here, row.east),
            *_group(row, group_by).values(),
            *tokens_of(row).values(),
            *_cost(row).values(),
            *(getattr(row, end) for end in ends),
        )
        for row in found.items
    )
    text, headers = csv_answer("usage-of-all", columns, lines)
    return Response(text, 200, headers, CSV)
