"""Erasure of a person's data, by a superadmin or by the person, and how far it is.

The request itself deletes keys, sessions and engines and makes the person nobody, in one transaction. Executions
follow: `Eraser` ends those that are open, the janitor prunes them all, the read model drops their rows.
"""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.gateway import erasure_store, user_store
from services.gateway.auth import Principal, Superadmin, User
from services.gateway.bodies import parsed, read_object
from services.gateway.engine_answers import answer
from services.gateway.erasure_store import Erasure
from services.gateway.openapi import body_of
from services.gateway.parts import Parts, get_parts
from services.gateway.people import PersonId, require_person
from services.gateway.problems import FieldError, Problem, invalid
from services.gateway.resource import rfc3339
from shared import audit
from shared.db import Role, transaction

router = APIRouter(tags=["admin"])

CONFIRMATION = "erase all my data"
HIMSELF = "asked for by the person"
GatewayParts = Annotated[Parts, Depends(get_parts)]


class ErasureBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(min_length=1, max_length=500)


class OwnErasureBody(BaseModel):
    """`confirm` must be the words `erase all my data`: there is no way back."""

    model_config = ConfigDict(extra="forbid", strict=True)

    confirm: str = Field(max_length=100)


class ErasureAnswer(BaseModel):
    """`done` when the log has no execution of the person any more; `open` ones are being ended."""

    user_id: str
    state: Literal["running", "done"]
    requested_by: str
    reason: str
    requested_at: datetime
    executions_open: int
    executions_left: int


class ErasureList(BaseModel):
    items: list[ErasureAnswer]
    next_cursor: None = None


@router.delete(
    "/v1/admin/users/{user_id}",
    status_code=202,
    response_model=ErasureAnswer,
    openapi_extra=body_of(ErasureBody),
    summary="Erase all data of a person; what was used stays counted, of nobody",
)
async def erase_one(
    request: Request, user_id: PersonId, parts: GatewayParts, principal: Superadmin
) -> Response:
    body = parsed(ErasureBody, await read_object(request))
    return await _erase(parts, principal, user_id, body.reason)


@router.delete(
    "/v1/me",
    status_code=202,
    response_model=ErasureAnswer,
    openapi_extra=body_of(OwnErasureBody),
    summary="Erase all data of the caller; there is no way back",
)
async def erase_me(request: Request, parts: GatewayParts, principal: User) -> Response:
    body = parsed(OwnErasureBody, await read_object(request))
    if body.confirm != CONFIRMATION:
        fault = FieldError("confirm", f"must be the words {CONFIRMATION!r}")
        raise invalid("This erases all of your data and must be confirmed.", [fault])
    return await _erase(parts, principal, principal.user_id, HIMSELF)


@router.get("/v1/admin/erasures", response_model=ErasureList, summary="Erasures, newest first")
async def list_erasures(parts: GatewayParts, _: Superadmin) -> Response:
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        found = await erasure_store.all_erasures(connection)
    return answer(200, {"items": [_json(each) for each in found], "next_cursor": None})


async def _erase(parts: Parts, principal: Principal, user_id: str, reason: str) -> Response:
    """May be repeated: what was there of it before is only told again."""
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await user_store.lock_roles(connection)
        await require_person(connection, user_id)
        before = await user_store.superadmins(connection)
        if await erasure_store.request(connection, user_id, principal.user_id, reason):
            await audit.record(
                connection,
                actor=principal.user_id,
                action="users.erase",
                target=user_id,
                details={},
                reason=reason,
            )
        await erasure_store.forget(connection, user_id)
        if before and await user_store.superadmins(connection) == 0:
            raise _last_superadmin()
        (found,) = await erasure_store.all_erasures(connection, user_id)
    await parts.authenticator.changed(user_id)
    await parts.catalogue.changed("")  # of the engines some were shared
    parts.eraser.look_now()
    return answer(202, _json(found))


def _last_superadmin() -> Problem:
    detail = "Nobody could administer this system any more; make somebody else a superadmin first."
    return Problem(409, "last_superadmin", "The last superadmin can not be erased", detail)


def _json(found: Erasure) -> dict[str, object]:
    return {
        "user_id": found.user_id,
        "state": "running" if found.left else "done",
        "requested_by": found.requested_by,
        "reason": found.reason,
        "requested_at": rfc3339(found.requested_at),
        "executions_open": found.open,
        "executions_left": found.left,
    }
