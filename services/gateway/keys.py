"""The caller's API keys: shown once, revoked at once, replaced with an overlap."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import key_store
from services.gateway.auth import Principal, User
from services.gateway.key_store import KeyRow
from services.gateway.parts import Parts, get_parts
from services.gateway.problems import FieldError, Problem, invalid
from services.gateway.scopes import Scope, within
from shared import audit
from shared.db import Role, transaction
from shared.ids import is_id

router = APIRouter(tags=["account"], prefix="/v1/keys")

GatewayParts = Annotated[Parts, Depends(get_parts)]

MOST_KEYS = 100
"""Of one user, not counting revoked ones."""
LONGEST_OVERLAP = 30 * 24 * 3600


class KeyBody(BaseModel):
    """`scopes`: what the key may do; empty for all that its user may. `expires_at`: without it, never."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
    scopes: Annotated[list[Scope], Field(max_length=len(Scope))] = []
    expires_at: AwareDatetime | None = None


class RotateBody(BaseModel):
    """For `overlap_seconds` both keys are good."""

    model_config = ConfigDict(extra="forbid")

    overlap_seconds: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP)] = 3600


class Key(BaseModel):
    """`prefix`: the first characters of the key. `last_used_at`: to the minute."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, row: KeyRow) -> Self:
        return cls.model_validate(row, from_attributes=True)


class NewKey(Key):
    key: str
    """The key itself. It is shown this once; only its digest is stored."""


class KeyList(BaseModel):
    items: list[Key]
    next_cursor: None = None


@router.get("", summary="The caller's keys, newest first; revoked ones are left out")
async def list_keys(principal: User, parts: GatewayParts, response: Response) -> KeyList:
    response.headers["Cache-Control"] = "no-store"
    async with _as_user(parts, principal) as connection:
        return KeyList(items=[Key.of(row) for row in await key_store.listed(connection, principal.user_id)])


@router.post("", status_code=201, summary="Make a key; the answer is the only one that shows it")
async def create_key(body: KeyBody, principal: User, parts: GatewayParts, response: Response) -> NewKey:
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise invalid("The key would never be good.", [FieldError("expires_at", "must be in the future")])
    _check_scopes(principal, body.scopes)
    response.headers["Cache-Control"] = "no-store"
    async with _as_user(parts, principal) as connection:
        return await _added(connection, principal, body, "keys.create")


@router.delete("/{key_id}", status_code=204, summary="Revoke a key, at once and everywhere")
async def revoke_key(key_id: str, principal: User, parts: GatewayParts) -> None:
    async with _as_user(parts, principal) as connection:
        row = await found_key(connection, principal.user_id, key_id)
        if row.revoked_at is None:
            await key_store.revoke(connection, principal.user_id, key_id)
            await _audit(connection, principal, "keys.revoke", row.id, {})
    await parts.authenticator.changed(key_id)


@router.post(
    "/{key_id}/rotate",
    status_code=201,
    summary="Replace a key by a new one; the old one ends after the overlap",
)
async def rotate_key(
    key_id: str, body: RotateBody, principal: User, parts: GatewayParts, response: Response
) -> NewKey:
    now = datetime.now(UTC)
    response.headers["Cache-Control"] = "no-store"
    async with _as_user(parts, principal) as connection:
        old = await found_key(connection, principal.user_id, key_id)
        if old.ended(now):
            raise Problem(
                409, "key_ended", "The key has ended", "This key is revoked or expired; make a new one."
            )
        _check_scopes(principal, old.scopes)
        fresh = await _added(connection, principal, _successor(old, now), "keys.rotate", replaces=old.id)
        ends = min(
            old.expires_at or datetime.max.replace(tzinfo=UTC), now + timedelta(seconds=body.overlap_seconds)
        )
        await key_store.expire(connection, principal.user_id, old.id, ends)
    await parts.authenticator.changed(old.id)
    return fresh


def _successor(old: KeyRow, now: datetime) -> KeyBody:
    """The same name and scopes; it lives as long as the old one was meant to."""
    lasts = old.expires_at - old.created_at if old.expires_at else None
    return KeyBody(
        name=old.name,
        scopes=[Scope(scope) for scope in old.scopes],
        expires_at=now + lasts if lasts else None,
    )


async def _added(
    connection: AsyncConnection, principal: Principal, body: KeyBody, action: str, replaces: str | None = None
) -> NewKey:
    await key_store.lock(connection, principal.user_id)
    if len(await key_store.listed(connection, principal.user_id)) >= MOST_KEYS:
        detail = f"A user has at most {MOST_KEYS} keys. Revoke one that is not needed any more."
        raise Problem(409, "too_many_keys", "Too many keys", detail)
    key = key_store.draw()
    key_id = await key_store.add(
        connection, principal.user_id, key, name=body.name, scopes=body.scopes, expires_at=body.expires_at
    )
    # Without its name: the audit outlives who wrote it.
    details = {"scopes": list(body.scopes), "replaces": replaces}
    await _audit(connection, principal, action, key_id, details)
    row = await key_store.find(connection, principal.user_id, key_id)
    assert row is not None
    return NewKey(**Key.of(row).model_dump(), key=key)


async def found_key(connection: AsyncConnection, user_id: str, key_id: str) -> KeyRow:
    """Revoked ones too. Raises: Problem 404."""
    row = await key_store.find(connection, user_id, key_id) if is_id(key_id) else None
    if row is None:
        raise Problem(404, "key_not_found", "No such key", "There is no key of this user with this id.")
    return row


def _check_scopes(principal: Principal, scopes: list[Scope] | tuple[str, ...]) -> None:
    """Raises: Problem 403, when the new key could do more than the one that makes it."""
    if not within(scopes, principal.scopes):
        detail = f"A key with scopes makes only keys with scopes of its own: {', '.join(sorted(principal.scopes))}."
        beyond = sorted(set(scopes) - principal.scopes) or ["all"]
        raise Problem(403, "scope_missing", "Not allowed for this key", detail, extra={"scope": beyond[0]})


def _as_user(parts: Parts, principal: Principal) -> AbstractAsyncContextManager[AsyncConnection]:
    return transaction(parts.db, role=Role.USER, user_id=principal.user_id)


async def _audit(
    connection: AsyncConnection, principal: Principal, action: str, key_id: str, details: Mapping[str, object]
) -> None:
    await audit.record(connection, actor=principal.user_id, action=action, target=key_id, details=details)
