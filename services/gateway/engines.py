"""Routes of engines."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from services.gateway import engine_store
from services.gateway.auth import Principal, User
from services.gateway.bodies import read_object
from services.gateway.catalogue import is_engine_id
from services.gateway.engine_problems import (
    NodeError,
    errors_of,
    not_found,
    refused,
    shared_by_another,
    too_many,
)
from services.gateway.engine_store import EngineRow
from services.gateway.parts import Parts, get_parts
from services.gateway.resource import rfc3339
from shared.db import Role, transaction
from shared.validation import InvalidDefinition, Problem, validate_engine
from shared.workflow import Engine, Input

router = APIRouter(prefix="/v1/engines", tags=["engines"])

MOST_ENGINES = 500
"""Of one user."""
STORED_FIELDS = ("version", "shared", "owner", "updated_at")
"""What an answer has beside the definition; ignored in a body, so that an answer can be put again."""

GatewayParts = Annotated[Parts, Depends(get_parts)]


class EngineSummary(BaseModel):
    id: str
    name: str
    description: str | None
    version: int
    shared: bool
    owner: str
    inputs: dict[str, Input]
    updated_at: datetime


class EngineList(BaseModel):
    items: list[EngineSummary]
    next_cursor: None = None


class EngineAnswer(Engine):
    """The definition as its author wrote it, and what is known about it."""

    version: int
    shared: bool
    owner: str
    updated_at: datetime


class Fault(BaseModel):
    """`field` is a path such as `nodes.outline.prompt`; `node` the id of the node that it is in."""

    field: str
    detail: str
    node: str | None


class Verdict(BaseModel):
    valid: bool
    errors: list[Fault]


_DEFINITION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A definition; what an answer has beside it may be left in and is ignored.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/EngineAnswer"}}},
    }
}


@router.get("", response_model=EngineList, summary="The caller's engines and the shared ones")
async def list_engines(parts: GatewayParts, principal: User) -> Response:
    rows = await engine_store.visible(parts.db, principal.user_id)
    return _json(200, {"items": [_summary(row) for row in rows], "next_cursor": None})


@router.post("/validate", response_model=Verdict, openapi_extra=_DEFINITION, summary="Check a definition")
async def validate(request: Request, parts: GatewayParts, _: User) -> Response:
    try:
        await _checked(parts, await read_object(request))
    except InvalidDefinition as invalid:
        return _json(200, {"valid": False, "errors": [_fault(problem) for problem in invalid.problems]})
    return _json(200, {"valid": True, "errors": []})


@router.get("/{engine_id}", response_model=EngineAnswer, summary="One engine, whole")
async def get_engine(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    return _json(200, _whole(await _visible(parts, principal, engine_id)))


@router.put(
    "/{engine_id}",
    response_model=EngineAnswer,
    responses={201: {"model": EngineAnswer, "description": "It is new."}},
    openapi_extra=_DEFINITION,
    summary="Create or replace one's own engine",
)
async def put_engine(request: Request, engine_id: str, parts: GatewayParts, principal: User) -> Response:
    definition = await read_object(request)
    if definition.setdefault("id", engine_id) != engine_id:
        raise refused([NodeError("id", f"must be {engine_id[:100]!r}, as in the address, or left out", None)])
    try:
        engine = await _checked(parts, definition)
    except InvalidDefinition as invalid:
        raise refused(errors_of(invalid)) from None
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        if await engine_store.count_others(connection, principal.user_id, engine_id) >= MOST_ENGINES:
            raise too_many(MOST_ENGINES)
        stored = await engine_store.put(connection, principal.user_id, engine)
    await parts.catalogue.changed(engine_id)
    row = EngineRow(
        owner_id=principal.user_id,
        id=engine_id,
        version=stored.version,
        shared=False,
        updated_at=stored.updated_at,
        definition=engine_store.definition_json(engine),
    )
    return _json(201 if stored.created else 200, _whole(row))


@router.delete("/{engine_id}", status_code=204, summary="Delete one's own engine")
async def delete_engine(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    row = await _visible(parts, principal, engine_id)
    if row.owner_id != principal.user_id:
        raise shared_by_another(engine_id)
    if not await engine_store.delete(parts.db, principal.user_id, engine_id):
        raise not_found(engine_id)
    await parts.catalogue.changed(engine_id)
    return Response(status_code=204)


async def _visible(parts: Parts, principal: Principal, engine_id: str) -> EngineRow:
    if not is_engine_id(engine_id):
        raise not_found(engine_id)
    rows = await engine_store.visible(parts.db, principal.user_id, engine_id)
    if not rows:
        raise not_found(engine_id)
    return rows[0]


async def _checked(parts: Parts, definition: dict[str, Any]) -> Engine:
    """Raises: InvalidDefinition; Unavailable."""
    models = await parts.catalogue.models()
    now = datetime.now(UTC)
    wanted = {key: value for key, value in definition.items() if key not in STORED_FIELDS}
    # beside the event loop: the largest definitions take a second
    return await asyncio.to_thread(validate_engine, wanted, models.known(now), models.successors(now))


def _summary(row: EngineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.definition["name"],
        "description": row.definition.get("description"),
        "version": row.version,
        "shared": row.shared,
        "owner": row.owner_id,
        "inputs": {name: _input(spec) for name, spec in row.definition.get("inputs", {}).items()},
        "updated_at": rfc3339(row.updated_at),
    }


def _input(spec: dict[str, Any]) -> dict[str, Any]:
    """With type and necessity, also where its author left them out."""
    return {"type": "text", "required": False, **spec}


def _whole(row: EngineRow) -> dict[str, Any]:
    return {
        **row.definition,
        "version": row.version,
        "shared": row.shared,
        "owner": row.owner_id,
        "updated_at": rfc3339(row.updated_at),
    }


def _fault(problem: Problem) -> dict[str, Any]:
    return {"field": problem.field, "detail": problem.detail, "node": problem.node}


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, "application/json")
