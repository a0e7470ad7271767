"""Engines in Postgres: what is read and written, as the role of whoever asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared.db import Role, transaction
from shared.workflow import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine as it is stored; `definition` is JSON as its author wrote it, with its order of keys."""

    owner_id: str
    id: str
    version: int
    shared: bool
    updated_at: datetime
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a definition that was put."""

    version: int
    created: bool
    updated_at: datetime


_VISIBLE = """
SELECT DISTINCT ON (id) owner_id::text, id, version, shared, updated_at, definition
FROM engines
WHERE (owner_id = CAST(:user_id AS uuid) OR shared) AND (CAST(:id AS text) IS NULL OR id = :id)
ORDER BY id, (owner_id = CAST(:user_id AS uuid)) DESC, owner_id
"""
"""One's own engine hides a shared one of the same id."""

_PUT = text("""
INSERT INTO engines (owner_id, id, name, description, definition, shared)
VALUES (CAST(:owner_id AS uuid), :id, :name, :description, :definition, :shared)
ON CONFLICT (owner_id, id) DO UPDATE SET
    name = excluded.name,
    description = excluded.description,
    definition = excluded.definition,
    shared = excluded.shared,
    version = engines.version + 1,
    updated_at = now()
WHERE engines.definition::text <> excluded.definition::text OR engines.shared <> excluded.shared
RETURNING version, updated_at
""").bindparams(bindparam("definition", type_=JSON))

_FOUND = text("SELECT version, updated_at FROM engines WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id")
_DELETE = text("DELETE FROM engines WHERE owner_id = CAST(:user_id AS uuid) AND id = :id")
_COUNT = text("SELECT count(*) FROM engines WHERE owner_id = CAST(:user_id AS uuid) AND id <> :id")


async def visible(db: AsyncEngine, user_id: str, engine_id: str | None = None) -> Sequence[EngineRow]:
    """A user's own engines and the shared ones, in order of their ids. Raises: Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        rows = await connection.execute(text(_VISIBLE), {"user_id": user_id, "id": engine_id})
        return [EngineRow(**row) for row in rows.mappings()]


async def put(connection: AsyncConnection, owner_id: str, engine: Engine, *, shared: bool = False) -> Stored:
    """Creates or replaces. The version grows with every change, also of the order of keys; the same definition again
    changes nothing: it is always written the same way.
    """
    values = {
        "owner_id": owner_id,
        "id": engine.id,
        "name": engine.name,
        "description": engine.description,
        "definition": definition_json(engine),
        "shared": shared,
    }
    row = (await connection.execute(_PUT, values)).one_or_none()
    if row is not None:
        return Stored(row.version, created=row.version == 1, updated_at=row.updated_at)
    found = (await connection.execute(_FOUND, {"owner_id": owner_id, "id": engine.id})).one()
    return Stored(found.version, created=False, updated_at=found.updated_at)


def definition_json(engine: Engine) -> dict[str, Any]:
    """The definition without what its author left out."""
    return engine.model_dump(mode="json", by_alias=True, exclude_unset=True)


async def delete(db: AsyncEngine, user_id: str, engine_id: str) -> bool:
    """Whether there was one of the user's own. Raises: Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        result = await connection.execute(_DELETE, {"user_id": user_id, "id": engine_id})
        return result.rowcount > 0


async def count_others(connection: AsyncConnection, user_id: str, engine_id: str) -> int:
    """How many engines of other ids the user has."""
    found = await connection.execute(_COUNT, {"user_id": user_id, "id": engine_id})
    return int(found.scalar_one())
