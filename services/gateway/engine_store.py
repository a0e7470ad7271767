"""Engines in Postgres: what is read and written, as the role of whoever asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.gateway import engine_history
from shared.db import Role, transaction
from shared.workflow import Engine

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRow:
    """One engine as it is stored; `definition` is JSON as its author wrote it, with its order of keys."""

    owner_id: str
    id: str
    version: int
    shared: bool
    created_at: datetime
    updated_at: datetime
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Published:
    """The version that is the newest, of the engine that was created then: numbers begin anew with an engine."""

    version: int
    created_at: datetime

    @property
    def tag(self) -> str:
        """The entity tag, without its quotation marks."""
        return f"{self.version}-{(self.created_at - _BEGINNING) // timedelta(microseconds=1):x}"


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a definition that was put."""

    version: int
    created: bool
    shared: bool
    created_at: datetime
    updated_at: datetime


_VISIBLE = """
SELECT owner_id::text, id, version, shared, created_at, updated_at, definition
FROM engines
WHERE (owner_id = CAST(:user_id AS uuid) OR shared) AND id = :id
ORDER BY (owner_id = CAST(:user_id AS uuid)) DESC, owner_id
LIMIT 1
"""
"""One's own engine hides a shared one of the same id."""

_PUT = text("""
INSERT INTO engines (owner_id, id, name, description, definition)
VALUES (CAST(:owner_id AS uuid), :id, :name, :description, :definition)
ON CONFLICT (owner_id, id) DO UPDATE SET
    name = excluded.name,
    description = excluded.description,
    definition = excluded.definition,
    version = engines.version + 1,
    updated_at = now()
WHERE engines.definition::text <> excluded.definition::text
RETURNING version, shared, created_at, updated_at
""").bindparams(bindparam("definition", type_=JSON))

_OWN = "FROM engines WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id"
_FOUND = text(f"SELECT version, shared, created_at, updated_at {_OWN}")
_LOCKED = text(f"SELECT version, created_at {_OWN} FOR UPDATE")
_DELETE = text(f"DELETE {_OWN}")
_COUNT = text("""
SELECT count(*) FROM (
    SELECT id FROM engines WHERE owner_id = CAST(:owner_id AS uuid)
    UNION SELECT id FROM engine_drafts WHERE owner_id = CAST(:owner_id AS uuid)
) AS every WHERE id <> :id
""")
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('shared engine ' || :id, 0))")
_BY_ANOTHER = text("""
SELECT EXISTS (SELECT FROM engines WHERE id = :id AND shared AND owner_id <> CAST(:owner_id AS uuid))
""")
_SHARE = text("""
UPDATE engines SET shared = :shared, updated_at = now()
WHERE owner_id = CAST(:owner_id AS uuid) AND id = :id AND shared <> :shared
""")

_UNSHARE = text("""
UPDATE engines SET shared = false, updated_at = now() WHERE id = :id AND shared RETURNING owner_id::text
""")


async def visible(db: AsyncEngine, user_id: str, engine_id: str) -> EngineRow | None:
    """A user's own engine of that id, else the shared one. Raises: Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        rows = await connection.execute(text(_VISIBLE), {"user_id": user_id, "id": engine_id})
        row = rows.mappings().one_or_none()
        return None if row is None else EngineRow(**row)


async def put(connection: AsyncConnection, owner_id: str, engine: Engine) -> Stored:
    """Creates or replaces. The version grows with every change, also of the order of keys, and each version is kept;
    the same definition again changes nothing: it is always written the same way. Who may see it stays as it is.
    """
    definition = definition_json(engine)
    key = {"owner_id": owner_id, "id": engine.id}
    values = {"name": engine.name, "description": engine.description, "definition": definition}
    row = (await connection.execute(_PUT, {**key, **values})).one_or_none()
    if row is not None:
        await engine_history.add_version(connection, owner_id, engine.id, row.version, definition)
        return Stored(created=row.version == 1, **row._asdict())
    found = (await connection.execute(_FOUND, key)).one()
    return Stored(created=False, **found._asdict())


async def locked(connection: AsyncConnection, owner_id: str, engine_id: str) -> Published | None:
    """What stays the newest until the end of the transaction; None when there is no such engine."""
    found = (await connection.execute(_LOCKED, {"owner_id": owner_id, "id": engine_id})).one_or_none()
    return None if found is None else Published(found.version, found.created_at)


async def is_shared_by_another(connection: AsyncConnection, owner_id: str, engine_id: str) -> bool:
    """Nobody else shares one of that id until the end of the transaction."""
    await connection.execute(_ONE_AT_A_TIME, {"id": engine_id})
    found = await connection.execute(_BY_ANOTHER, {"owner_id": owner_id, "id": engine_id})
    return bool(found.scalar_one())


async def share(connection: AsyncConnection, owner_id: str, engine_id: str, *, shared: bool) -> bool:
    """Lets everyone see and run it, or nobody else; false when that is so already. No new version: what is run is
    the same.
    """
    values = {"owner_id": owner_id, "id": engine_id, "shared": shared}
    return (await connection.execute(_SHARE, values)).rowcount > 0


async def unshare(connection: AsyncConnection, engine_id: str) -> Sequence[str]:
    """The authors of shared engines of that id, which are shared no more: one, unless a sample came later."""
    return (await connection.execute(_UNSHARE, {"id": engine_id})).scalars().all()


def definition_json(engine: Engine) -> dict[str, Any]:
    """The definition without what its author left out."""
    return engine.model_dump(mode="json", by_alias=True, exclude_unset=True)


async def delete(connection: AsyncConnection, owner_id: str, engine_id: str) -> bool:
    """Whether there was one of the user's own. Its versions go with it."""
    return (await connection.execute(_DELETE, {"owner_id": owner_id, "id": engine_id})).rowcount > 0


async def count_others(connection: AsyncConnection, owner_id: str, engine_id: str) -> int:
    """How many engines and drafts of other ids the user has."""
    found = await connection.execute(_COUNT, {"owner_id": owner_id, "id": engine_id})
    return int(found.scalar_one())
