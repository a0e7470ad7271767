"""All that is stored of one person, as lines of JSON: one's own, or anybody's for a superadmin."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Select, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.auth import Superadmin, User
from services.gateway.output import output_json, output_of
from services.gateway.parts import Parts, get_parts
from services.gateway.people import PersonId, require_person
from services.gateway.queries import present
from services.gateway.resource import rfc3339
from shared import audit
from shared.db import Role, transaction
from shared.errors import LekhikaError, Permanent
from shared.execution import fold
from shared.logs import get_logger
from shared.tables import (
    api_keys,
    engine_drafts,
    engine_versions,
    engines,
    executions,
    usage_ledger,
    usage_zones,
    users,
)

router = APIRouter(tags=["account"])

NDJSON = "application/x-ndjson"
PAGE = 100
LINES: dict[int | str, dict[str, Any]] = {200: {"content": {NDJSON: {"schema": {"type": "string"}}}}}
FORM = (
    "Lines of JSON. `record` is profile, key, engine, engine_version, draft, usage_zone, execution or usage; the last line is "
    "`end` with the number of lines of each kind: without it, the export was cut off. Executions have their input "
    "and, as far as it came, their output. A part that can not be read any more has `unavailable` in its place."
)
_PROFILE = tuple(users.c[name] for name in ("id", "email", "display_name", "role", "created_at"))
_KEY = tuple(column for column in api_keys.c if column.name != "digest")
_USAGE = tuple(column for column in usage_ledger.c if column.name not in {"cost", "price_version"})
_ZONE = (usage_zones.c.timezone, usage_zones.c.looked_at)

_log = get_logger(__name__)
GatewayParts = Annotated[Parts, Depends(get_parts)]


@router.get(
    "/v1/me/export",
    response_class=Response,
    responses=LINES,
    summary="All that is stored of the caller",
    description=FORM,
)
async def export_mine(parts: GatewayParts, principal: User) -> Response:
    return _answer(parts, principal.user_id)


@router.get(
    "/v1/admin/users/{user_id}/export",
    response_class=Response,
    responses=LINES,
    summary="All that is stored of a person",
    description=FORM,
)
async def export_one(user_id: PersonId, parts: GatewayParts, principal: Superadmin) -> Response:
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await require_person(connection, user_id)
        await audit.record(
            connection, actor=principal.user_id, action="users.export", target=user_id, details={}
        )
    return _answer(parts, user_id)


def _answer(parts: Parts, user_id: str) -> Response:
    name = f'attachment; filename="lekhika-{user_id}.ndjson"'
    headers = {"Cache-Control": "no-store", "Content-Disposition": name}
    return StreamingResponse(_lines(parts, user_id), 200, headers, NDJSON)


async def _lines(parts: Parts, user_id: str) -> AsyncIterator[bytes]:
    """Cut off without its last line when a server goes away meanwhile."""
    counts: dict[str, int] = {}
    try:
        async for kind, content in _contents(parts, user_id):
            counts[kind] = counts.get(kind, 0) + 1
            yield orjson.dumps({"record": kind, **content}, default=_plain) + b"\n"
    except LekhikaError as error:
        _log.warning("an export was cut off", user_id=user_id, reason=str(error))
        return
    yield orjson.dumps({"record": "end", "at": rfc3339(datetime.now(UTC)), "lines": counts}) + b"\n"


async def _contents(parts: Parts, user_id: str) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    """All of it is read as the person's own role: no mistake here can show anybody else's."""
    tables: dict[str, Select[Any]] = {
        "profile": select(*_PROFILE).where(users.c.id == user_id),
        "key": select(*_KEY).order_by(api_keys.c.id),
        "engine": select(engines).where(engines.c.owner_id == user_id).order_by(engines.c.id),
        "engine_version": select(engine_versions).order_by(engine_versions.c.id, engine_versions.c.version),
        "draft": select(engine_drafts).order_by(engine_drafts.c.id),
        "usage_zone": select(*_ZONE).order_by(usage_zones.c.timezone),
    }
    async with transaction(parts.db, role=Role.USER, user_id=user_id) as connection:
        found = [(kind, await _rows(connection, query)) for kind, query in tables.items()]
    for kind, rows in found:
        for row in rows:
            yield kind, row
    async for execution in _executions(parts, user_id):
        yield "execution", execution
    async for line in _paged(parts, user_id, select(*_USAGE), ("execution_id", "line")):
        yield "usage", line


async def _rows(connection: AsyncConnection, query: Select[Any]) -> list[dict[str, Any]]:
    found = (await connection.execute(query)).mappings()
    return [{str(name): value for name, value in row.items()} for row in found]  # JSON wants plain names


async def _paged(
    parts: Parts, user_id: str, query: Select[Any], key: tuple[str, ...]
) -> AsyncIterator[dict[str, Any]]:
    """In pages by `key`, so that no transaction is open while the reader takes its time."""
    columns = {column.name: column for column in query.selected_columns}
    order = [columns[name] for name in key]
    query = query.where(columns["user_id"] == user_id).order_by(*order).limit(PAGE)
    page_query = query
    while True:
        async with transaction(parts.db, role=Role.USER, user_id=user_id) as connection:
            page = await _rows(connection, page_query)
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        last = (literal(page[-1][column.name], column.type) for column in order)
        page_query = query.where(tuple_(*order) > tuple_(*last))


async def _executions(parts: Parts, user_id: str) -> AsyncIterator[dict[str, Any]]:
    wanted = select(executions.c.id, executions.c.user_id)
    async for row in _paged(parts, user_id, wanted, ("id",)):
        try:
            found = await _execution(parts, user_id, row["id"])
        except Permanent as error:
            found = {"id": row["id"], "unavailable": str(error)}
        if found is not None:
            yield found


async def _execution(parts: Parts, user_id: str, execution_id: str) -> dict[str, Any] | None:
    """None when it was pruned meanwhile. Raises: ArtifactGone; UnknownEvent; Unavailable."""
    state = fold(await parts.log.load(execution_id))
    if state is None or state.user_id != user_id:
        return None
    body = await parts.bodies.of(state.body)
    output = output_json(state, await output_of(parts, state, body.workflow))
    return {**await present(parts, state), "workflow": body.workflow.model_dump(mode="json"), "text": output}


def _plain(value: Any) -> Any:
    """For what JSON does not know."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)
