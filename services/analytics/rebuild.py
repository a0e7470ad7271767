"""`python -m services.analytics.rebuild`: the rollups anew from the ledger, while everything runs.

Range by range of time, each in a transaction of its own that keeps the writers out for a moment: so user_analytics is the sum of
the ledger for whoever looks, before, after and meanwhile. See docs/decisions/0011.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.analytics.closed_days import OPEN_ALL
from services.analytics.maintenance import run_program
from services.analytics.ranges import FIRST, next_span
from services.analytics.statements import LOCK_ROLLUPS, NEXT_BUCKET, REBUILD
from shared.db import transaction


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Rows of the rollups: how many there are, and how many of them were not what the ledger says."""

    rows: int = 0
    corrected: int = 0
    removed: int = 0

    def __add__(self, other: "Rebuilt") -> "Rebuilt":
        return Rebuilt(self.rows + other.rows, self.corrected + other.corrected, self.removed + other.removed)


Step = Callable[[AsyncConnection, datetime, datetime], Awaitable[None]]


async def ranges(
    engine: AsyncEngine,
    step: Step,
    start: datetime | None = None,
    end: datetime | None = None,
    *,
    alone: bool = True,
) -> AsyncIterator[tuple[datetime, datetime]]:
    """Runs `step` on every range that has anything, from the oldest on, and gives the range after its commit.

    `alone`: nobody counts meanwhile; a step that writes needs that. `start` and `end` are on quarters of an hour;
    `end` is not included. Raises: Unavailable.
    """
    span, at = FIRST, start
    while True:
        async with transaction(engine) as connection:
            first = (await connection.execute(NEXT_BUCKET, {"start": at, "end": end})).scalar_one()
            if first is None:
                return
            upto = first + span if end is None else min(first + span, end)
            began = time.monotonic()
            if alone:
                await connection.execute(LOCK_ROLLUPS)
            await step(connection, first, upto)
        span, at = next_span(span, time.monotonic() - began), upto
        yield first, upto


async def rebuild_range(connection: AsyncConnection, start: datetime, end: datetime) -> Rebuilt:
    """Only rows that are not right are written."""
    row = (await connection.execute(REBUILD, {"start": start, "end": end})).one()
    return Rebuilt(rows=row.whole, corrected=row.put, removed=row.gone)


async def rebuild(engine: AsyncEngine) -> Rebuilt:
    """Closed days are summed anew as well. Raises: Unavailable; what was rebuilt by then stays so, and another run goes over
    all of it.
    """
    async with transaction(engine) as connection:
        await connection.execute(LOCK_ROLLUPS)  # who counts locks zones after it too
        await connection.execute(OPEN_ALL)
    whole = Rebuilt()

    async def step(connection: AsyncConnection, start: datetime, end: datetime) -> None:
        nonlocal whole
        whole += await rebuild_range(connection, start, end)

    async for _ in ranges(engine, step):
        pass
    return whole


if __name__ == "__main__":
    sys.exit(asyncio.run(run_program("rebuild", rebuild)))
