"""What the read model says. It only proposes: the log decides about each execution."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import transaction

# The slowest one, when several read models are being built.
_PROJECTED = text("SELECT min(seq) FROM projector_positions")

_ENDED = text("""
    SELECT id::text, ended_at, kept FROM executions
    WHERE ended_at <= :before AND (ended_at, id) > (:after, CAST(:after_id AS uuid))
      AND (:everything OR (NOT kept AND last_seq <= :done))
    ORDER BY ended_at, id LIMIT :count
""")

# Few people are erased, and an erased one has no rows for long.
_ERASED = text("""
    SELECT e.id::text, e.ended_at, e.kept, e.user_id::text FROM erasures JOIN executions e USING (user_id)
    WHERE e.ended_at IS NOT NULL AND (e.ended_at, e.id) > (:after, CAST(:after_id AS uuid)) AND e.last_seq <= :done
    ORDER BY e.ended_at, e.id LIMIT :count
""")

_KEPT = text("SELECT kept FROM executions WHERE id = CAST(:id AS uuid)")

# A queued one is left out while its lane still holds it; a running one while a worker says that it runs it
# and it is younger than any limit with its grace.
_OPEN = text("""
    SELECT e.id::text FROM executions e
    LEFT JOIN unnest(CAST(:lanes AS text[]), CAST(:floors AS bigint[])) AS f(lane, seq) ON f.lane = e.lane
    WHERE e.ended_at IS NULL AND e.id > CAST(:after AS uuid)
      AND CASE e.status
          WHEN 'stopping' THEN true
          WHEN 'running' THEN e.id <> ALL(CAST(:carried AS uuid[])) OR e.started_at < :long_ago
          ELSE e.attempt > 0 OR e.last_seq <= f.seq
      END
    ORDER BY e.id LIMIT :count
""")


@dataclass(frozen=True, slots=True)
class EndedRow:
    id: str
    ended_at: datetime
    kept: bool
    erased_user: str | None = None
    """Whose it is, if that person's data is to go."""


Place = tuple[datetime, str]
"""After which row of the ended ones to go on: its end and its id."""


async def projected(db: AsyncEngine) -> int | None:
    """The sequence that the read model is at; None when no projector has ever run. Raises: Unavailable."""
    async with transaction(db) as connection:
        found: int | None = await connection.scalar(_PROJECTED)
        return found


async def ended(
    db: AsyncEngine, *, before: datetime, after: Place, done: int, count: int, everything: bool = False
) -> Sequence[EndedRow]:
    """Executions that ended by `before`, oldest first, in pages.

    Kept ones and those whose last event lies beyond `done` are left out, unless `everything` is asked for.
    Raises: Unavailable.
    """
    values = {
        "before": before,
        "after": after[0],
        "after_id": after[1],
        "done": done,
        "count": count,
        "everything": everything,
    }
    async with transaction(db) as connection:
        return [EndedRow(*row) for row in await connection.execute(_ENDED, values)]


async def erased(db: AsyncEngine, *, after: Place, done: int, count: int) -> Sequence[EndedRow]:
    """Ended executions of people whose data is to go, oldest first, in pages; without those beyond `done`.

    Raises: Unavailable.
    """
    values = {"after": after[0], "after_id": after[1], "done": done, "count": count}
    async with transaction(db) as connection:
        return [EndedRow(*row) for row in await connection.execute(_ERASED, values)]


async def kept(db: AsyncEngine, execution_id: str) -> bool:
    """Whether its owner keeps it, now; false when there is no row any more. Raises: Unavailable."""
    async with transaction(db) as connection:
        return bool(await connection.scalar(_KEPT, {"id": execution_id}))


async def in_doubt(
    db: AsyncEngine,
    *,
    lanes: Mapping[str, int],
    carried: Iterable[str],
    long_ago: datetime,
    after: str,
    count: int,
) -> Sequence[str]:
    """Ids of open executions that somebody may have to act on, in pages, in order. Raises: Unavailable."""
    values = {
        "lanes": list(lanes),
        "floors": list(lanes.values()),
        "carried": list(carried),
        "long_ago": long_ago,
        "after": after,
        "count": count,
    }
    async with transaction(db) as connection:
        return list((await connection.scalars(_OPEN, values)).all())
