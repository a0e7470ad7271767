"""API keys in Postgres. Of a key only its SHA-256 is stored, and its first characters, by which people know it."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.digests import digest
from shared.ids import new_id

PREFIX = 8

# One at a time for each user: the number of keys is counted before one is added.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('api keys of ' || :user_id, 0))")
_COLUMNS = "id, name, prefix, scopes, created_at, expires_at, last_used_at, revoked_at"
_LIST = text(
    f"SELECT {_COLUMNS} FROM api_keys WHERE user_id = :user_id AND revoked_at IS NULL ORDER BY id DESC"  # noqa: S608
)
_FIND = text(f"SELECT {_COLUMNS} FROM api_keys WHERE user_id = :user_id AND id = :id")  # noqa: S608
_ADD = text("""
INSERT INTO api_keys (id, user_id, prefix, digest, name, scopes, expires_at)
VALUES (:id, :user_id, :prefix, :digest, :name, :scopes, :expires_at)
""")
_REVOKE = text(
    "UPDATE api_keys SET revoked_at = now() WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL"
)
_EXPIRE = text(
    "UPDATE api_keys SET expires_at = :at WHERE id = :id AND user_id = :user_id AND revoked_at IS NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None

    def ended(self, now: datetime) -> bool:
        return self.revoked_at is not None or (self.expires_at is not None and self.expires_at <= now)


def draw() -> str:
    """A new key, with 256 random bits."""
    return f"lk_{secrets.token_urlsafe(32)}"


async def lock(connection: AsyncConnection, user_id: str) -> None:
    """Until the end of the transaction nobody else adds a key of this user."""
    await connection.execute(_LOCK, {"user_id": user_id})


async def listed(connection: AsyncConnection, user_id: str) -> Sequence[KeyRow]:
    """Those that are not revoked, newest first."""
    rows = await connection.execute(_LIST, {"user_id": user_id})
    return [_row(dict(row)) for row in rows.mappings()]


async def find(connection: AsyncConnection, user_id: str, key_id: str) -> KeyRow | None:
    """Revoked ones too."""
    row = (await connection.execute(_FIND, {"user_id": user_id, "id": key_id})).mappings().one_or_none()
    return None if row is None else _row(dict(row))


def _row(values: dict[str, Any]) -> KeyRow:
    return KeyRow(**{**values, "id": str(values["id"]), "scopes": tuple(values["scopes"])})


async def add(
    connection: AsyncConnection,
    user_id: str,
    key: str,
    *,
    name: str,
    scopes: Collection[str] = (),
    expires_at: datetime | None = None,
) -> str:
    """The id of what was stored."""
    key_id = new_id()
    values = {"name": name, "scopes": sorted(map(str, scopes)), "expires_at": expires_at}
    stored = {"id": key_id, "user_id": user_id, "prefix": key[:PREFIX], "digest": digest(key)}
    await connection.execute(_ADD, {**stored, **values})
    return key_id


async def revoke(connection: AsyncConnection, user_id: str, key_id: str) -> None:
    await connection.execute(_REVOKE, {"user_id": user_id, "id": key_id})


async def expire(connection: AsyncConnection, user_id: str, key_id: str, at: datetime) -> None:
    await connection.execute(_EXPIRE, {"user_id": user_id, "id": key_id, "at": at})
