"""Erasures in Postgres: what goes at once, and what is still there of those whose data is to go."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Column, Table, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.tables import erasures, executions, metadata, users

DELETED = "deleted user"
AFTERMATH = timedelta(minutes=15)
"""Longer than a request takes, and than a gateway that did not hear of it goes on to know a key."""
STAYS = frozenset({"usage_ledger", "user_analytics", "erasures", "engine_versions"})
"""Tables with references to people that are kept: what was used stays counted. Versions go with their engine."""


class Erasure(NamedTuple):
    user_id: str
    requested_by: str
    reason: str
    requested_at: datetime
    open: int
    """Executions that have not ended."""
    left: int
    """Executions that are still in the log."""


def owned() -> Iterator[tuple[Table, Column[str]]]:
    """Every table that refers to people, but those that stay, each after what refers to it."""
    for table in reversed(metadata.sorted_tables):
        for column in table.columns:
            refers = any(key.target_fullname == "users.id" for key in column.foreign_keys)
            if refers and table.name not in STAYS:
                yield table, column


async def request(connection: AsyncConnection, user_id: str, by: str, reason: str) -> bool:
    """False when it was requested before."""
    there = select(exists().where(erasures.c.user_id == user_id))
    if (await connection.execute(there)).scalar_one():
        return False
    await connection.execute(insert(erasures).values(user_id=user_id, requested_by=by, reason=reason))
    return True


async def forget(connection: AsyncConnection, user_id: str) -> None:
    """Deletes all that is the person's own, and who it was."""
    for table, column in owned():
        await connection.execute(delete(table).where(column == user_id))
    nobody = {"email": None, "display_name": DELETED, "role": "user"}
    when = func.coalesce(users.c.anonymised_at, func.now())
    await connection.execute(update(users).where(users.c.id == user_id).values(**nobody, anonymised_at=when))


async def lately(connection: AsyncConnection) -> Sequence[str]:
    """Of whom a request that had begun before the erasure may have stored something after it."""
    query = select(erasures.c.user_id).where(erasures.c.requested_at > func.now() - AFTERMATH)
    return list((await connection.execute(query)).scalars())


async def all_erasures(connection: AsyncConnection, user_id: str | None = None) -> Sequence[Erasure]:
    """Newest first, all or that of one person."""
    of_the_person = executions.c.user_id == erasures.c.user_id
    counted = select(func.count()).where(of_the_person)
    query = select(
        erasures.c.user_id,
        erasures.c.requested_by,
        erasures.c.reason,
        erasures.c.requested_at,
        counted.where(executions.c.ended_at.is_(None)).scalar_subquery(),
        counted.scalar_subquery(),
    ).order_by(erasures.c.requested_at.desc(), erasures.c.user_id)
    if user_id is not None:
        query = query.where(erasures.c.user_id == user_id)
    return [Erasure(*row) for row in await connection.execute(query)]


async def still_open(connection: AsyncConnection, most: int) -> Sequence[str]:
    """Ids of executions of erased people that have not ended."""
    query = (
        select(executions.c.id)
        .join(erasures, erasures.c.user_id == executions.c.user_id)
        .where(executions.c.ended_at.is_(None))
        .order_by(executions.c.id)
        .limit(most)
    )
    return list((await connection.execute(query)).scalars())
