"""Anybody's API keys, for superadmins: seen, without what they are checked with, and revoked."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from services.gateway import key_store
from services.gateway.auth import Superadmin
from services.gateway.keys import Key, KeyList, found_key
from services.gateway.model_bodies import Reason
from services.gateway.parts import Parts, get_parts
from services.gateway.people import PersonId, require_person
from shared import audit
from shared.db import Role, transaction

router = APIRouter(prefix="/v1/admin/users/{user_id}/keys", tags=["admin"])

GatewayParts = Annotated[Parts, Depends(get_parts)]


@router.get("", summary="A user's keys, newest first; revoked ones are left out")
async def list_keys_of(user_id: PersonId, _: Superadmin, parts: GatewayParts, response: Response) -> KeyList:
    response.headers["Cache-Control"] = "no-store"
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await require_person(connection, user_id)
        return KeyList(items=[Key.of(row) for row in await key_store.listed(connection, user_id)])


@router.delete("/{key_id}", status_code=204, summary="Revoke a user's key, at once and everywhere")
async def revoke_key_of(
    user_id: PersonId,
    key_id: str,
    principal: Superadmin,
    parts: GatewayParts,
    reason: Annotated[Reason | None, Query()] = None,
) -> None:
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await require_person(connection, user_id)
        row = await found_key(connection, user_id, key_id)
        if row.revoked_at is None:
            await key_store.revoke(connection, user_id, key_id)
            await audit.record(
                connection,
                actor=principal.user_id,
                action="keys.revoke",
                target=row.id,
                details={"user_id": user_id},
                reason=reason,
            )
    await parts.authenticator.changed(key_id)
