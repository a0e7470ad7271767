"""People in Postgres, as superadmins and operators see and change them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.errors import Permanent
from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID

_COLUMNS = "id, email, display_name AS name, role, created_at, disabled_at"
_PEOPLE = f"FROM users WHERE id <> '{SYSTEM_USER_ID}' AND anonymised_at IS NULL"
_LIST = text(f"""
SELECT {_COLUMNS} {_PEOPLE}
    AND (CAST(:email AS text) IS NULL OR strpos(email, lower(:email)) > 0)
    AND (CAST(:before AS uuid) IS NULL OR id < CAST(:before AS uuid))
ORDER BY id DESC LIMIT :limit
""")
_FIND = text(f"SELECT {_COLUMNS} {_PEOPLE} AND id = :id")
_BY_EMAIL = text(f"SELECT {_COLUMNS} {_PEOPLE} AND email = lower(:email)")
_ADD = text("INSERT INTO users (id, email, display_name, role) VALUES (:id, lower(:email), :name, :role)")
# Whoever changes what a superadmin is waits for the others who do, so that the last one is seen by all.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('roles of people', 0))")
_CHANGE = text("""
UPDATE users SET
    display_name = coalesce(:name, display_name),
    role = coalesce(:role, role),
    disabled_at = CASE WHEN :disabled THEN coalesce(disabled_at, now())
                       WHEN NOT :disabled THEN NULL ELSE disabled_at END
WHERE id = :id
""")
_SUPERADMINS = text(f"SELECT count(*) {_PEOPLE} AND role = 'superadmin' AND disabled_at IS NULL")


class EmailTaken(Permanent):
    """Somebody has this email address already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    id: str
    email: str | None
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


def _person(row: Mapping[str, Any]) -> Person:
    return Person(**{**row, "id": str(row["id"])})


async def listed(
    connection: AsyncConnection, *, email: str | None, before: str | None, limit: int
) -> Sequence[Person]:
    """Newest first, from the one after `before` on. `email`: a part of the address."""
    values = {"email": email, "before": before, "limit": limit}
    return [_person(dict(row)) for row in (await connection.execute(_LIST, values)).mappings()]


async def find(connection: AsyncConnection, user_id: str) -> Person | None:
    row = (await connection.execute(_FIND, {"id": user_id})).mappings().one_or_none()
    return None if row is None else _person(dict(row))


async def by_email(connection: AsyncConnection, email: str) -> Person | None:
    row = (await connection.execute(_BY_EMAIL, {"email": email})).mappings().one_or_none()
    return None if row is None else _person(dict(row))


async def add(connection: AsyncConnection, *, email: str, name: str, role: str) -> str:
    """The new user's id. Raises: EmailTaken."""
    row = {"id": new_id(), "email": email, "name": name, "role": role}
    try:
        await connection.execute(_ADD, row)
    except IntegrityError:
        raise EmailTaken(f"there is a user with the email address {email} already") from None
    return row["id"]


async def lock_roles(connection: AsyncConnection) -> None:
    await connection.execute(_LOCK)


async def change(
    connection: AsyncConnection, user_id: str, *, name: str | None, role: str | None, disabled: bool | None
) -> None:
    """What is None stays as it is."""
    values = {"id": user_id, "name": name, "role": role, "disabled": disabled}
    await connection.execute(_CHANGE, values)


async def superadmins(connection: AsyncConnection) -> int:
    """Those who may call."""
    return int((await connection.execute(_SUPERADMINS)).scalar_one())
