"""`GET /v1/admin/audit`: who did what to whom, newest first."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, literal, select, tuple_

from services.gateway.auth import Superadmin
from services.gateway.cursors import cursor_of, place_of
from services.gateway.engine_answers import answer
from services.gateway.parts import Parts, get_parts
from services.gateway.resource import rfc3339
from services.gateway.usage_rows import CSV, CSV_TOO, csv_answer, prefers_csv, time_of
from shared.db import Role, transaction
from shared.tables import audit

router = APIRouter(prefix="/v1/admin/audit", tags=["admin"])

COLUMNS = ("at", "actor", "action", "target", "reason", "id")
"""Of a CSV file."""

Exactly = Annotated[str | None, Query(min_length=1, max_length=300, pattern=r"^[^\x00]+$")]


class ActAnswer(BaseModel):
    """`actor` is a user's id, or who else did it; `target` the id of what it was done to."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None
    details: dict[str, Any]


class ActList(BaseModel):
    items: list[ActAnswer]
    next_cursor: str | None


@router.get(
    "",
    response_model=ActList,
    responses=CSV_TOO,
    summary="Who did what to whom, newest first",
)
async def list_acts(
    parts: Annotated[Parts, Depends(get_parts)],
    _: Superadmin,
    actor: Exactly = None,
    action: Annotated[Exactly, Query(description="Whole, or its beginning with a dot: `models.`")] = None,
    target: Exactly = None,
    start: Annotated[str | None, Query(alias="from", description="RFC 3339")] = None,
    end: Annotated[str | None, Query(alias="to", description="RFC 3339, not included")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    exact = {"actor": actor, "target": target}
    query = select(audit).where(*_conditions(exact, action, _time("from", start), _time("to", end)))
    if cursor:
        at, last_id = place_of(cursor)
        place = tuple_(literal(at, audit.c.at.type), literal(last_id, audit.c.id.type))
        query = query.where(tuple_(audit.c.at, audit.c.id) < place)
    query = query.order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit + 1)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        rows = (await connection.execute(query)).all()
    shown = rows[:limit]
    if prefers_csv(accept):
        return _csv(shown)
    more = cursor_of(shown[-1].at, shown[-1].id) if len(rows) > limit else None
    return answer(200, {"items": [_act(row) for row in shown], "next_cursor": more}, Vary="Accept")


def _conditions(
    exact: Mapping[str, str | None], action: str | None, start: datetime | None, end: datetime | None
) -> Iterator[ColumnElement[bool]]:
    for name, value in exact.items():
        if value is not None:
            yield audit.c[name] == value
    if action is not None:
        whole = not action.endswith(".")
        yield audit.c.action == action if whole else audit.c.action.startswith(action, autoescape=True)
    if start is not None:
        yield audit.c.at >= start
    if end is not None:
        yield audit.c.at < end


def _time(field: str, given: str | None) -> datetime | None:
    """In UTC where no zone is given. Raises: Problem 422."""
    found = time_of(field, given)
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _act(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ActAnswer.model_fields} | {"at": rfc3339(row.at)}


def _csv(rows: Sequence[Row[Any]]) -> Response:
    lines = [[_act(row)[name] for name in COLUMNS] for row in rows]
    content, headers = csv_answer("audit", COLUMNS, lines)
    return Response(content, 200, headers, CSV)
