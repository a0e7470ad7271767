"""Routes of what comes before and after a published engine: drafts, versions, sharing."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from services.gateway import (
    engine_answers,
    engine_history,
    engine_problems,
    engine_publishing,
    engine_store,
)
from services.gateway.auth import Principal, User
from services.gateway.bodies import parsed, read_object
from services.gateway.catalogue import is_engine_id
from services.gateway.engine_answers import (
    ANY_OBJECT,
    DraftAnswer,
    EngineAnswer,
    RestoreBody,
    SharingBody,
    VersionList,
)
from services.gateway.engine_history import Draft, Version
from services.gateway.engine_problems import NodeError
from services.gateway.engine_publishing import MOST_ENGINES, IfMatch
from services.gateway.engine_store import EngineRow
from services.gateway.engines import GatewayParts, Match
from services.gateway.openapi import body_of
from services.gateway.parts import Parts
from shared import audit
from shared.db import Role, transaction
from shared.structure import MAX_BYTES

router = APIRouter(prefix="/v1/engines/{engine_id}", tags=["engines"])

NEWEST = 2_147_483_647
"""No version is above it."""

Number = Annotated[int, Path(ge=1, le=NEWEST)]


@router.get("/draft", response_model=DraftAnswer, summary="The caller's draft of an engine")
async def get_draft(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    return engine_answers.answer(200, engine_answers.draft_whole(await _draft(parts, principal, engine_id)))


@router.put(
    "/draft",
    response_model=DraftAnswer,
    openapi_extra=ANY_OBJECT,
    summary="Keep a draft; nobody else sees it",
)
async def put_draft(request: Request, engine_id: str, parts: GatewayParts, principal: User) -> Response:
    definition = engine_publishing.named(await read_object(request), engine_id)
    if not is_engine_id(engine_id):
        detail = "must be small letters, digits and hyphens, at most 64, not beginning with a hyphen"
        raise engine_problems.refused([NodeError("id", detail, None)])
    if len(orjson.dumps(definition)) > MAX_BYTES:
        detail = f"is larger than {MAX_BYTES // 1024} KiB"
        raise engine_problems.refused([NodeError("definition", detail, None)])
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        if await engine_store.count_others(connection, principal.user_id, engine_id) >= MOST_ENGINES:
            raise engine_problems.too_many(MOST_ENGINES)
        await engine_history.put_draft(connection, principal.user_id, engine_id, definition)
        draft = await engine_history.draft(connection, principal.user_id, engine_id)
    assert draft is not None
    return engine_answers.answer(200, engine_answers.draft_whole(draft))


@router.delete("/draft", status_code=204, summary="Throw the draft away")
async def delete_draft(engine_id: str, parts: GatewayParts, principal: User) -> Response:
    draft = await _draft(parts, principal, engine_id)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        await engine_history.drop_draft(connection, principal.user_id, draft.id)
    return Response(status_code=204)


@router.post(
    "/publish",
    response_model=EngineAnswer,
    responses={201: {"model": EngineAnswer, "description": "It is new."}},
    summary="Check the draft and make it the newest version",
)
async def publish(engine_id: str, parts: GatewayParts, principal: User, if_match: Match = None) -> Response:
    draft = await _draft(parts, principal, engine_id)
    created, row = await engine_publishing.publish(
        parts, principal, draft.definition, IfMatch.of(if_match), draft
    )
    return engine_answers.whole(201 if created else 200, row)


@router.get("/versions", response_model=VersionList, summary="The versions of one's own engine, newest first")
async def list_versions(
    engine_id: str,
    parts: GatewayParts,
    principal: User,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=NEWEST)] = None,
) -> Response:
    row = await engine_publishing.own(parts, principal, engine_id)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        found = await engine_history.versions(
            connection, principal.user_id, engine_id, below=cursor or NEWEST, most=limit + 1
        )
    items = [engine_answers.version_summary(each, row.version) for each in found[:limit]]
    more = str(found[limit - 1].version) if len(found) > limit else None
    return engine_answers.answer(200, {"items": items, "next_cursor": more})


@router.get(
    "/versions/{number}", response_model=EngineAnswer, summary="One version of one's own engine, whole"
)
async def get_version(engine_id: str, number: Number, parts: GatewayParts, principal: User) -> Response:
    row, version = await _version(parts, principal, engine_id, number)
    old = EngineRow(
        owner_id=row.owner_id,
        id=row.id,
        version=number,
        shared=row.shared,
        created_at=row.created_at,
        updated_at=version.created_at,
        definition=version.definition,
    )
    return engine_answers.whole(200, old)


@router.post(
    "/restore",
    response_model=EngineAnswer,
    openapi_extra=body_of(RestoreBody),
    summary="Publish an old version again, as the newest",
)
async def restore(
    request: Request, engine_id: str, parts: GatewayParts, principal: User, if_match: Match = None
) -> Response:
    number = parsed(RestoreBody, await read_object(request)).version
    _, version = await _version(parts, principal, engine_id, number)
    _, row = await engine_publishing.publish(parts, principal, version.definition, IfMatch.of(if_match))
    return engine_answers.whole(200, row)


@router.put(
    "/sharing",
    response_model=EngineAnswer,
    openapi_extra=body_of(SharingBody),
    summary="Let everyone see and run one's own engine, or nobody else",
)
async def share(request: Request, engine_id: str, parts: GatewayParts, principal: User) -> Response:
    shared = parsed(SharingBody, await read_object(request)).visibility == "everyone"
    await engine_publishing.own(parts, principal, engine_id)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        if shared and await engine_store.is_shared_by_another(connection, principal.user_id, engine_id):
            raise engine_problems.id_is_taken(engine_id)
        if await engine_store.share(connection, principal.user_id, engine_id, shared=shared):
            action = "engines.share" if shared else "engines.unshare"
            await audit.record(
                connection, actor=principal.user_id, action=action, target=engine_id, details={}
            )
    await parts.catalogue.changed(engine_id)
    return engine_answers.whole(200, await engine_publishing.own(parts, principal, engine_id))


async def _draft(parts: Parts, principal: Principal, engine_id: str) -> Draft:
    """Raises: Problem 404; Unavailable."""
    if is_engine_id(engine_id):
        async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
            draft = await engine_history.draft(connection, principal.user_id, engine_id)
        if draft is not None:
            return draft
    raise engine_problems.no_draft(engine_id)


async def _version(
    parts: Parts, principal: Principal, engine_id: str, number: int
) -> tuple[EngineRow, Version]:
    """Raises: Problem 403, 404; Unavailable."""
    row = await engine_publishing.own(parts, principal, engine_id)
    version = None
    if 0 < number <= NEWEST:
        async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
            version = await engine_history.version(connection, principal.user_id, engine_id, number)
    if version is None:
        raise engine_problems.no_version(engine_id, number, row.version)
    return row, version
