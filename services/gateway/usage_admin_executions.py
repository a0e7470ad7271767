"""Executions of everybody, with what they cost: only for superadmins."""

import operator
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.auth import Superadmin
from services.gateway.parts import Parts, get_parts
from services.gateway.queries import Page, page_of, row_json
from services.gateway.usage_admin import CostText
from services.gateway.usage_periods import wrong
from services.gateway.usage_rows import HEADERS, TokenCounts, decimal_text
from shared.db import Role, transaction
from shared.execution import Status
from shared.tables import executions
from shared.usage import Kind

router = APIRouter(prefix="/v1/admin/executions", tags=["admin"])

_COSTS = text("""
SELECT execution_id::text AS id, sum(cost) AS cost,
    coalesce(sum(total_tokens) FILTER (WHERE cost IS NULL), 0)::bigint AS unpriced_tokens
FROM usage_ledger WHERE execution_id = ANY(CAST(:ids AS uuid[])) GROUP BY execution_id
""")


class EngineVersion(BaseModel):
    id: str
    name: str
    version: int


class CostedExecution(BaseModel):
    """As in the owner's list, with the cost in USD of the tokens that have a price, and the number of the others.

    Both are null until the execution has ended and is counted.
    """

    id: str
    user_id: str
    engine: EngineVersion
    title: str | None
    status: Status
    kind: Kind
    tokens: TokenCounts
    cost: CostText | None
    unpriced_tokens: int | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    kept: bool
    attempt: int
    worker: str | None
    lane: str | None
    queue: dict[str, Any] | None
    stop: dict[str, Any] | None
    output: str
    events: str


class CostedExecutions(BaseModel):
    items: list[CostedExecution]
    currency: Literal["USD"] = "USD"
    next_cursor: str | None


@router.get("", response_model=CostedExecutions, summary="Everybody's executions, newest first, with costs")
async def list_all_executions(
    parts: Annotated[Parts, Depends(get_parts)],
    _: Superadmin,
    user: Annotated[UUID | None, Query(description="Only of this one")] = None,
    status: Status | None = None,
    engine: Annotated[str | None, Query(max_length=200)] = None,
    kind: Kind | None = None,
    worker: Annotated[str | None, Query(max_length=200, description="Only those it runs")] = None,
    since: Annotated[AwareDatetime | None, Query(alias="from", description="Created then or later")] = None,
    before: Annotated[AwareDatetime | None, Query(alias="to", description="Created before")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    for field, given in (("engine", engine), ("worker", worker)):
        if given is not None and "\0" in given:
            raise wrong(field, "must not hold NUL characters")
    conditions = [
        compare(column, given)
        for compare, column, given in (
            (operator.eq, executions.c.user_id, str(user) if user else None),
            (operator.eq, executions.c.kind, kind),
            (operator.eq, executions.c.worker, worker),
            (operator.ge, executions.c.created_at, since),
            (operator.lt, executions.c.created_at, before),
        )
        if given is not None
    ]
    page = Page(status=status, engine=engine, limit=limit, cursor=cursor or None)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        rows, following = await page_of(connection, select(executions).where(*conditions), page)
        costs = await _costs(connection, [row.id for row in rows])
    items = [{**row_json(row, parts), **_cost(costs.get(row.id))} for row in rows]
    body = {"items": items, "currency": "USD", "next_cursor": following}
    return Response(orjson.dumps(body), 200, HEADERS, "application/json")


async def _costs(connection: AsyncConnection, ids: Iterable[str]) -> Mapping[str, Row[Any]]:
    found = await connection.execute(_COSTS, {"ids": list(ids)})
    return {row.id: row for row in found}


def _cost(row: Row[Any] | None) -> dict[str, Any]:
    if row is None:
        return {"cost": None, "unpriced_tokens": None}
    return {"cost": decimal_text(row.cost), "unpriced_tokens": row.unpriced_tokens}
