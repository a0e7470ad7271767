"""Routes of engines: list, check, read, publish, delete. What comes before and after: `engine_lifecycle`."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from services.gateway import engine_answers, engine_history, engine_list, engine_publishing, engine_store
from services.gateway.auth import User
from services.gateway.bodies import read_object
from services.gateway.engine_answers import DEFINITION, EngineAnswer, EngineList, Verdict
from services.gateway.engine_problems import not_found
from services.gateway.engine_publishing import IfMatch
from services.gateway.engine_warnings import warnings_of
from services.gateway.parts import Parts, get_parts
from shared.db import Role, transaction
from shared.validation import InvalidDefinition

router = APIRouter(prefix="/v1/engines", tags=["engines"])

GatewayParts = Annotated[Parts, Depends(get_parts)]
Match = Annotated[
    str | None,
    Header(alias="If-Match", description="Entity tag of one's own published version, or *; else 412"),
]


@router.get("", response_model=EngineList, summary="The caller's engines and drafts, and the shared engines")
async def list_engines(
    parts: GatewayParts,
    principal: User,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    cursor: Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9-]*$")] = "",
) -> Response:
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        found = await engine_list.visible_page(connection, principal.user_id, cursor, limit)
    return engine_answers.answer(200, engine_answers.page(found))


@router.post("/validate", response_model=Verdict, openapi_extra=DEFINITION, summary="Check a definition")
async def validate(request: Request, parts: GatewayParts, principal: User) -> Response:
    try:
        engine = await engine_publishing.checked(parts, principal, await read_object(request))
    except InvalidDefinition as invalid:
        return engine_answers.answer(200, engine_answers.verdict(errors=invalid.problems))
    retiring = (await parts.catalogue.models()).retiring(datetime.now(UTC))
    found = warnings_of(engine, retiring, parts.settings.largest_limits())
    return engine_answers.answer(200, engine_answers.verdict(warnings=found))


@router.get("/{engine_id}", response_model=EngineAnswer, summary="One engine, whole")
async def get_engine(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    return engine_answers.whole(200, await engine_publishing.visible(parts, principal, engine_id))


@router.put(
    "/{engine_id}",
    response_model=EngineAnswer,
    responses={201: {"model": EngineAnswer, "description": "It is new."}},
    openapi_extra=DEFINITION,
    summary="Create one's own engine, or publish a new version of it",
)
async def put_engine(
    request: Request, engine_id: str, parts: GatewayParts, principal: User, if_match: Match = None
) -> Response:
    definition = engine_publishing.named(await read_object(request), engine_id)
    created, row = await engine_publishing.publish(parts, principal, definition, IfMatch.of(if_match))
    return engine_answers.whole(201 if created else 200, row)


@router.delete("/{engine_id}", status_code=204, summary="Delete one's own engine with its versions and draft")
async def delete_engine(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    await engine_publishing.own(parts, principal, engine_id)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        await engine_history.drop_draft(connection, principal.user_id, engine_id)
        if not await engine_store.delete(connection, principal.user_id, engine_id):
            raise not_found(engine_id)
    await parts.catalogue.changed(engine_id)
    return Response(status_code=204)
