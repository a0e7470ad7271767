"""Versions and drafts of engines in Postgres, each seen by its author alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    version: int
    name: str | None
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    definition: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """`version` is the published one beside it, if there is one."""

    id: str
    version: int | None
    updated_at: datetime
    definition: dict[str, Any]


_ADD = text("""
INSERT INTO engine_versions (owner_id, id, version, definition, created_by)
VALUES (CAST(:owner_id AS uuid), :id, :version, :definition, CAST(:owner_id AS uuid))
""").bindparams(bindparam("definition", type_=JSON))
_LIST = text("""
SELECT version, definition ->> 'name' AS name, created_at, created_by::text
FROM engine_versions
WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id AND version < :below
ORDER BY version DESC LIMIT :most
""")
_GET = text("""
SELECT definition, created_at FROM engine_versions
WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id AND version = :version
""")
_DRAFT = text("""
SELECT draft.id, engines.version, draft.updated_at, draft.definition
FROM engine_drafts AS draft LEFT JOIN engines USING (owner_id, id)
WHERE draft.owner_id = CAST(:owner_id AS uuid) AND draft.id = :id
""")
_PUT_DRAFT = text("""
INSERT INTO engine_drafts (owner_id, id, definition) VALUES (CAST(:owner_id AS uuid), :id, :definition)
ON CONFLICT (owner_id, id) DO UPDATE SET definition = excluded.definition, updated_at = clock_timestamp()
""").bindparams(bindparam("definition", type_=JSON))
_DROP_DRAFT = text("""
DELETE FROM engine_drafts
WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id
    AND (CAST(:updated_at AS timestamptz) IS NULL OR updated_at = :updated_at)
""")


async def add_version(
    connection: AsyncConnection, owner_id: str, engine_id: str, version: int, definition: Mapping[str, Any]
) -> None:
    values = {"owner_id": owner_id, "id": engine_id, "version": version, "definition": definition}
    await connection.execute(_ADD, values)


async def versions(
    connection: AsyncConnection, owner_id: str, engine_id: str, *, below: int, most: int
) -> Sequence[VersionRow]:
    """Newest first, those older than `below`."""
    given = {"owner_id": owner_id, "id": engine_id, "below": below, "most": most}
    return [VersionRow(**row) for row in (await connection.execute(_LIST, given)).mappings()]


async def version(connection: AsyncConnection, owner_id: str, engine_id: str, number: int) -> Version | None:
    given = {"owner_id": owner_id, "id": engine_id, "version": number}
    row = (await connection.execute(_GET, given)).one_or_none()
    return None if row is None else Version(definition=row.definition, created_at=row.created_at)


async def draft(connection: AsyncConnection, owner_id: str, engine_id: str) -> Draft | None:
    """One's own."""
    rows = await connection.execute(_DRAFT, {"owner_id": owner_id, "id": engine_id})
    row = rows.mappings().one_or_none()
    return None if row is None else Draft(**row)


async def put_draft(
    connection: AsyncConnection, owner_id: str, engine_id: str, definition: Mapping[str, Any]
) -> None:
    await connection.execute(_PUT_DRAFT, {"owner_id": owner_id, "id": engine_id, "definition": definition})


async def drop_draft(
    connection: AsyncConnection, owner_id: str, engine_id: str, as_of: datetime | None = None
) -> bool:
    """Whether there was one; with `as_of` only the one that was last changed at that very moment."""
    given = {"owner_id": owner_id, "id": engine_id, "updated_at": as_of}
    return (await connection.execute(_DROP_DRAFT, given)).rowcount > 0
