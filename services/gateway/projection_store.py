"""The read model in Postgres: rows and position over the one connection that also holds the projector's lock.

When the connection is gone, so are the lock and every way to write. And a write changes nothing unless the position
is where this projector has left it, so that two of them can never mix.
"""

# ruff: noqa: S608 - every part of these texts is a constant of this file

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.gateway.audit_projection import Act
from services.gateway.projection import Row
from shared.db import Role, transaction
from shared.errors import Retryable
from shared.execution import Status
from shared.usage import Certainty

NAME = "executions"
LOCK = 0x6C656B68696B61
"""Key of the advisory lock; a number that only has to differ from those of other programs on this database."""
ASK_SECONDS = 0.5
"""How often one that waits asks for the lock."""

_COLUMNS = tuple(field.name for field in fields(Row))
_TYPES = {
    "id": "uuid",
    "user_id": "uuid",
    "engine_version": "integer",
    "created_at": "timestamptz",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "attempt": "integer",
    "stop": "jsonb",
    "error": "jsonb",
    **{f"{kind}_tokens": "bigint" for kind in ("input", "cached", "output", "thoughts", "tool")},
    "last_seq": "bigint",
}
_TEXTS = ("id", "user_id")
_ACT = tuple(field.name for field in fields(Act))

_READ: TextClause = text(f"""
SELECT {", ".join(f"{name}::text" if name in _TEXTS else name for name in _COLUMNS)}
FROM executions WHERE id = ANY(CAST(:ids AS uuid[]))
""")

_GIVEN = ", ".join(f"CAST(:{name}s AS {_TYPES.get(name, 'text')}[])" for name in _COLUMNS)
_NEW_VALUES = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "id")

_NOTE = """
INSERT INTO audit (id, at, actor, action, target, reason, details)
SELECT * FROM unnest(CAST(:act_ids AS uuid[]), CAST(:act_ats AS timestamptz[]), CAST(:act_actors AS text[]),
    CAST(:act_actions AS text[]), CAST(:act_targets AS text[]), CAST(:act_reasons AS text[]),
    CAST(:act_detailss AS jsonb[]))
"""

_WRITE: TextClause = text(f"""
WITH moved AS (
    UPDATE projector_positions SET seq = :upto, updated_at = now() WHERE name = :name AND seq = :position RETURNING seq
), gone AS (
    DELETE FROM executions WHERE id = ANY(CAST(:pruned AS uuid[])) AND EXISTS (SELECT FROM moved)
), put AS (
    INSERT INTO executions AS old ({", ".join(_COLUMNS)})
    SELECT {", ".join(_COLUMNS)}
    FROM unnest({_GIVEN}) AS given ({", ".join(_COLUMNS)})
    WHERE EXISTS (SELECT FROM moved)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET updated_at = now(), {_NEW_VALUES}
    WHERE old.last_seq < excluded.last_seq
), noted AS ({_NOTE} WHERE EXISTS (SELECT FROM moved) ON CONFLICT DO NOTHING
)
SELECT count(*) FROM moved
""")

_PUT: TextClause = text(f"""
INSERT INTO executions ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM unnest({_GIVEN}) AS given ({", ".join(_COLUMNS)}) ORDER BY id
ON CONFLICT (id) DO UPDATE SET updated_at = now(), {_NEW_VALUES}
""")
_NOTE_ALL = text(f"{_NOTE} ON CONFLICT DO NOTHING")
_REMOVE = text("DELETE FROM executions WHERE id = ANY(CAST(:ids AS uuid[]))")
_IDS = text("SELECT id::text FROM executions")
_HOLD = text("SELECT seq FROM projector_positions WHERE name = :name FOR UPDATE")
_STEP_BACK = text("""
UPDATE projector_positions SET seq = greatest(seq - 1, 0), updated_at = now() WHERE name = :name
""")

_TRY_LOCK = text("SELECT pg_try_advisory_lock(:key)")
_FIRST = text("INSERT INTO projector_positions (name, seq) VALUES (:name, 0) ON CONFLICT (name) DO NOTHING")
_POSITION = text("SELECT seq FROM projector_positions WHERE name = :name")
_RESET = text("UPDATE projector_positions SET seq = 0, updated_at = now() WHERE name = :name")


class Superseded(Retryable):
    """The position is not where this projector has left it: somebody else writes, or a rebuild has begun."""


class RowStore:
    """Every method raises SQLAlchemyError when the database does not answer; the lock may then be lost."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def position(self) -> int:
        """The sequence of the log up to which the rows are right; 0 at the very first."""
        await self._connection.execute(_FIRST, {"name": NAME})
        return await self._position() or 0

    async def _position(self) -> int | None:
        found: int | None = await self._connection.scalar(_POSITION, {"name": NAME})
        return found

    async def require(self, position: int) -> None:
        """Raises: Superseded."""
        if await self._position() != position:
            raise Superseded("the position of the read model was moved by somebody else")

    async def reset(self) -> None:
        """The log is read anew from its start; rows that are right already stay as they are."""
        await self._connection.execute(_RESET, {"name": NAME})

    async def read(self, ids: Iterable[str]) -> dict[str, Row]:
        """The rows that exist of these executions."""
        found = await self._connection.execute(_READ, {"ids": list(ids)})
        return {row[0]: _row(row._mapping) for row in found}  # noqa: SLF001 - its public name

    async def write(
        self,
        rows: Sequence[Row],
        pruned: Sequence[str],
        acts: Sequence[Act] = (),
        *,
        position: int,
        upto: int,
    ) -> None:
        """Rows, deletions, lines of the audit and the position in one statement, hence in one transaction.

        Raises: Superseded, and then nothing was written; DataError or IntegrityError, when a row can not be stored.
        """
        place = {"pruned": list(pruned), "name": NAME, "position": position, "upto": upto}
        given = {**_values(rows), **_acts(acts), **place}
        if not (await self._connection.execute(_WRITE, given)).scalar_one():
            raise Superseded("the position of the read model was moved by somebody else")

    async def ids(self) -> set[str]:
        """Of all rows."""
        return set((await self._connection.execute(_IDS)).scalars())

    async def put(self, rows: Sequence[Row]) -> None:
        """As they are, whatever is there; all or none. Only within `held`.

        Raises: DataError or IntegrityError, when one can not be stored.
        """
        async with self._connection.begin_nested():
            await self._connection.execute(_PUT, _values(rows))

    async def note(self, acts: Sequence[Act]) -> None:
        """Lines of the audit, those that are not there. Only within `held`."""
        await self._connection.execute(_NOTE_ALL, _acts(acts))

    async def remove(self, ids: Iterable[str]) -> None:
        """Only within `held`."""
        await self._connection.execute(_REMOVE, {"ids": list(ids)})


@asynccontextmanager
async def held(engine: AsyncEngine) -> AsyncIterator[RowStore]:
    """One transaction in which no projector writes. What one had read before, it can not write after it.

    For that the position goes back by one: the event before it is applied once more, which changes nothing.
    Raises: Unavailable.
    """
    async with transaction(engine, role=Role.PROJECTOR) as connection:
        await connection.execute(_FIRST, {"name": NAME})
        await connection.execute(_HOLD, {"name": NAME})
        yield RowStore(connection)
        await connection.execute(_STEP_BACK, {"name": NAME})


@asynccontextmanager
async def sole(engine: AsyncEngine) -> AsyncIterator[RowStore]:
    """Waits until no other process projects; nobody else does within this block, as long as the connection lives.

    Raises: SQLAlchemyError.
    """
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        try:
            await connection.execute(text(f"SET ROLE {Role.PROJECTOR.value}"))
            while not await connection.scalar(_TRY_LOCK, {"key": LOCK}):  # noqa: ASYNC110 - nobody tells when it is free
                await asyncio.sleep(ASK_SECONDS)
            yield RowStore(connection)
        finally:
            await connection.invalidate()  # in the pool it would go on holding lock and role


def _values(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """A list for each column."""
    return {f"{name}s": [_value(getattr(row, name)) for row in rows] for name in _COLUMNS}


def _acts(acts: Sequence[Act]) -> dict[str, list[Any]]:
    """A list for each column."""
    return {f"act_{name}s": [_value(getattr(act, name)) for act in acts] for name in _ACT}


def _row(found: Any) -> Row:
    status, certainty = Status(found["status"]), Certainty(found["certainty"])
    return Row(**{**found, "status": status, "certainty": certainty})


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return value.value if isinstance(value, Status | Certainty) else value
