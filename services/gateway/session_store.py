"""Sessions of the console and the passwords that begin them, in Postgres."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import audit
from shared.db import Role, transaction

_FIND = text("""
SELECT users.id, email, display_name, role, digest
FROM users LEFT JOIN user_passwords ON user_id = users.id
WHERE email = lower(:email) AND disabled_at IS NULL AND anonymised_at IS NULL
""")
_PASSWORD_OF = text("SELECT digest FROM user_passwords WHERE user_id = :user_id")
# Not `excluded.digest`: that is a read, and whoever sets a password may not read any.
_SET_PASSWORD = text("""
INSERT INTO user_passwords (user_id, digest) VALUES (:user_id, :digest)
ON CONFLICT (user_id) DO UPDATE SET digest = :digest, changed_at = now()
""")
_REHASH = text("UPDATE user_passwords SET digest = :digest WHERE user_id = :user_id AND digest = :old")
_REPLACE = text("""
UPDATE user_passwords SET digest = :digest, changed_at = now() WHERE user_id = :user_id AND digest = :old
""")
# Whoever changes the password waits for this one and then ends its session, or it waits and finds another password.
_BEGIN = text("""
INSERT INTO sessions (id, user_id, digest, csrf, expires_at)
SELECT CAST(:id AS uuid), user_id, CAST(:digest AS bytea), :csrf, now() + make_interval(secs => least(:idle, :longest))
FROM user_passwords WHERE user_id = :user_id AND digest = :password FOR SHARE
RETURNING expires_at
""")
_END = text("DELETE FROM sessions WHERE id = :id")
_END_FORMER = text("DELETE FROM sessions WHERE digest = :digest RETURNING id::text, user_id::text")
_END_ALL = text("""
DELETE FROM sessions WHERE user_id = :user_id AND (CAST(:but AS uuid) IS NULL OR id <> CAST(:but AS uuid))
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may log in. `password`: the digest, None when there is none."""

    user_id: str
    email: str
    name: str
    role: str
    password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """`digest` is that of the cookie, `password` that of the password which was checked."""

    id: str
    user_id: str
    digest: bytes
    csrf: str
    password: str


async def find(db: AsyncEngine, email: str) -> Account | None:
    """None when nobody has the address or the one who has it may not call. Raises: Unavailable."""
    async with transaction(db, role=Role.AUTH) as connection:
        row = (await connection.execute(_FIND, {"email": email})).one_or_none()
    if row is None:
        return None
    return Account(
        user_id=str(row.id), email=row.email, name=row.display_name, role=row.role, password=row.digest
    )


async def password_of(db: AsyncEngine, user_id: str) -> str | None:
    async with transaction(db, role=Role.AUTH) as connection:
        digest: str | None = (
            await connection.execute(_PASSWORD_OF, {"user_id": user_id})
        ).scalar_one_or_none()
        return digest


async def set_password(connection: AsyncConnection, user_id: str, digest: str) -> None:
    """Whatever it was."""
    await connection.execute(_SET_PASSWORD, {"user_id": user_id, "digest": digest})


async def replace_password(connection: AsyncConnection, user_id: str, old: str, digest: str) -> bool:
    """False when `old`, which was checked, is not the digest any more."""
    values = {"user_id": user_id, "old": old, "digest": digest}
    return (await connection.execute(_REPLACE, values)).rowcount > 0


async def rehash(db: AsyncEngine, user_id: str, old: str, digest: str) -> None:
    """The same password under today's parameters, unless it was changed meanwhile."""
    async with transaction(db, role=Role.AUTH) as connection:
        await connection.execute(_REHASH, {"user_id": user_id, "old": old, "digest": digest})


async def begin(db: AsyncEngine, session: NewSession, *, idle: int, longest: int) -> datetime | None:
    """When it ends if it is not used; None when the password was changed since it was checked. Raises: Unavailable."""
    values = {**asdict(session), "idle": idle, "longest": longest}
    async with transaction(db, role=Role.AUTH) as connection:
        expires_at: datetime | None = (await connection.execute(_BEGIN, values)).scalar_one_or_none()
        if expires_at is not None:
            await audit.record_own(connection, session.user_id, "sessions.begin", session.id, {})
        return expires_at


async def end(db: AsyncEngine, user_id: str, session_id: str) -> None:
    async with transaction(db, role=Role.AUTH) as connection:
        if (await connection.execute(_END, {"id": session_id})).rowcount > 0:
            await audit.record_own(connection, user_id, "sessions.end", session_id, {})


async def end_former(db: AsyncEngine, digest: bytes) -> str | None:
    """Ends the session of that cookie, whosever it is; its id, None when there is none."""
    async with transaction(db, role=Role.AUTH) as connection:
        row = (await connection.execute(_END_FORMER, {"digest": digest})).one_or_none()
        if row is None:
            return None
        await audit.record_own(connection, row.user_id, "sessions.end", row.id, {})
        session_id: str = row.id
        return session_id


async def end_all(connection: AsyncConnection, user_id: str, *, but: str | None = None) -> int:
    """How many there were."""
    return (await connection.execute(_END_ALL, {"user_id": user_id, "but": but})).rowcount
