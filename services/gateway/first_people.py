"""Users and keys made by whoever runs the system, straight in the database: this is how the first superadmin comes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import key_store, passwords, session_store, user_store
from services.gateway.scopes import Scope
from shared import audit
from shared.db import Role, make_engine, transaction
from shared.errors import Permanent
from shared.ids import is_id

OPERATOR = "operator"
"""Who did it, in the audit: somebody with the database's password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    id: str
    user_id: str
    key: str


async def create_user(
    database_url: str, *, email: str, name: str, role: str, password: SecretStr | None
) -> str:
    """The new user's id. Raises: EmailTaken; Unavailable."""
    db = make_engine(database_url, application="operator", pool_size=1)
    try:
        async with transaction(db, role=Role.ADMIN) as connection:
            user_id = await user_store.add(connection, email=email, name=name, role=role)
            if password is not None:
                await session_store.set_password(connection, user_id, passwords.digest(password))
            details = {"role": role, "password": password is not None}
            await audit.record(
                connection, actor=OPERATOR, action="users.create", target=user_id, details=details
            )
            return user_id
    finally:
        await db.dispose()


async def create_key(
    database_url: str, *, user: str, name: str, scopes: Collection[Scope], expires_at: datetime | None
) -> CreatedKey:
    """`user`: an id or an email address. Raises: Permanent, when there is none; Unavailable."""
    db = make_engine(database_url, application="operator", pool_size=1)
    try:
        async with transaction(db, role=Role.ADMIN) as connection:
            user_id = await _found(connection, user)
            key = key_store.draw()
            key_id = await key_store.add(
                connection, user_id, key, name=name, scopes=scopes, expires_at=expires_at
            )
            details = {"user_id": user_id, "scopes": list(scopes)}
            await audit.record(
                connection, actor=OPERATOR, action="keys.create", target=key_id, details=details
            )
            return CreatedKey(id=key_id, user_id=user_id, key=key)
    finally:
        await db.dispose()


async def _found(connection: AsyncConnection, user: str) -> str:
    find = user_store.find if is_id(user) else user_store.by_email
    person = await find(connection, user)
    if person is None:
        raise Permanent(f"there is no user {user}")
    return person.id
