"""Who is calling: from the API key to a `Principal`, remembered by the key's digest for a short while."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from nats.aio.msg import Msg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.parts import Parts, get_parts
from services.gateway.problems import Problem
from services.gateway.remembered import Ages, Remembered
from shared.db import Role, transaction
from shared.tables import api_keys, users

CHANGED_KEYS = "changed.keys"
"""Core NATS subject for whoever revokes a key: its id, or nothing for all keys. No route revokes yet."""
AGES = Ages(fresh=15.0, soon=60.0, stale=3600.0)
"""A revocation that is broadcast counts at once. If its broadcast was missed, the key still ends: at the first use after a minute,
or a moment after its first use after 15 s; while Postgres does not answer, after an hour."""
REMEMBERED = 20_000

_KEY = re.compile(r"lk_[A-Za-z0-9_-]{16,200}")
_BEARER = HTTPBearer(auto_error=False, description="An API key, `lk_...`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who may call. `role` is `user` or `superadmin`."""

    user_id: str
    role: str
    key_id: str
    scopes: frozenset[str]
    email: str | None = None
    name: str = ""

    @property
    def superadmin(self) -> bool:
        return self.role == "superadmin"


@dataclass(frozen=True, slots=True)
class _Key:
    principal: Principal
    expires_at: datetime | None


class Authenticator:
    """Finds principals by key, from memory where it can. Keys are remembered by their digest."""

    def __init__(self, db: AsyncEngine) -> None:
        self._db = db
        self._keys: Remembered[bytes, _Key] = Remembered(self._find, AGES, most=REMEMBERED)

    async def principal(self, key: str) -> Principal | None:
        """None for a key that is malformed, unknown, revoked or expired.

        Raises: Unavailable, when Postgres does not answer and the key is not in memory.
        """
        if _KEY.fullmatch(key) is None:
            return None
        known = await self._keys.get(hashlib.sha256(key.encode()).digest())
        if known is None or (known.expires_at is not None and known.expires_at <= datetime.now(UTC)):
            return None
        return known.principal

    async def _find(self, digest: bytes) -> _Key | None:
        query = (
            select(
                *(api_keys.c[name] for name in ("id", "user_id", "scopes", "expires_at")),
                *(users.c[name] for name in ("role", "email", "display_name")),
            )
            .join(users, users.c.id == api_keys.c.user_id)
            .where(
                api_keys.c.digest == digest, api_keys.c.revoked_at.is_(None), users.c.anonymised_at.is_(None)
            )
        )
        async with transaction(self._db, role=Role.AUTH) as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        principal = Principal(
            user_id=row.user_id,
            role=row.role,
            key_id=row.id,
            scopes=frozenset(row.scopes),
            email=row.email,
            name=row.display_name,
        )
        return _Key(principal, row.expires_at)

    async def hear(self, msg: Msg) -> None:
        """A broadcast on `changed.keys`: what is remembered of that key is forgotten at once."""
        key_id = msg.data.decode(errors="replace")
        self._keys.forget(lambda _, known: not key_id or known.principal.key_id == key_id)


async def require_user(
    parts: Annotated[Parts, Depends(get_parts)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> Principal:
    """Raises: Problem 401 without a good key; Unavailable."""
    if credentials is None:
        raise _unauthorized("Send an API key: Authorization: Bearer lk_...")
    principal = await parts.authenticator.principal(credentials.credentials)
    if principal is None:
        raise _unauthorized("This API key is malformed, unknown, revoked or expired.")
    return principal


async def require_superadmin(principal: Annotated[Principal, Depends(require_user)]) -> Principal:
    """Raises: Problem 401 or 403; Unavailable."""
    if not principal.superadmin:
        raise Problem(403, "forbidden", "Not allowed", "Only superadmins may do this.")
    return principal


User = Annotated[Principal, Depends(require_user)]
Superadmin = Annotated[Principal, Depends(require_superadmin)]


def _unauthorized(detail: str) -> Problem:
    return Problem(
        401, "unauthorized", "Not authorized", detail, headers={"WWW-Authenticate": 'Bearer realm="lekhika"'}
    )
