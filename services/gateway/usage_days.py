"""A user's quarters of an hour, or days that analytics keeps summed, whichever a range by day is made of.

The closed days of a zone (`usage_days`, before `closed_until` of `usage_zones`) stand for the rollups and lines of the ledger that they
are made of. Which are closed and the sums are read in one snapshot (`REPEATABLE READ`), whatever is closed or opened meanwhile: in a statement
of its own, so that the planner of the other knows how much it will read, and of whom.

A quarter belongs to the day that `date_trunc` gives it. Where a clock is put back over midnight, as in the Azores and, long ago, in
Newfoundland, that is not in the order of time. So days are told apart by their starts and never by their quarters, and the days at
both ends of a range, of which it may have a part only, are always summed anew.
"""

# ruff: noqa: S608 - every part of these texts is a constant of this file

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.gateway.usage_periods import BOUNDS, Period, bounded
from shared.db import Role, transaction
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.usage import MOST_ZONES
from shared.usage_sums import Grouping

MANY = 5000
"""Rows of `user_analytics`. Summing more than these takes so long that the zone's days are worth keeping."""
SLACK = timedelta(hours=24)
"""More than any zone's days and their quarters are out of order."""
_SLACK = f"interval '{SLACK / timedelta(hours=1):.0f} hours'"

_log = get_logger(__name__)

_DAY = "date_trunc('day', bucket, :timezone)"
MINE = "user_id = CAST(:user_id AS uuid)"

# Where a closed day does not end at midnight, the zone's rules were changed since. A plan for any range at all, which Postgres
# would make after a while, would read what everybody used in it.
_SEAM = text(f"""
WITH bounds AS ({BOUNDS})
SELECT bounds.start, bounds.end, low, greatest(low, least(high, coalesce(closed_until, '-infinity'))) AS high,
    looked_at < now() - interval '1 day' AS long_ago, set_config('plan_cache_mode', 'force_custom_plan', true)
FROM bounds CROSS JOIN LATERAL (
    SELECT date_trunc('day', bounds.start + 2 * {_SLACK}, :timezone) AS low,
        date_trunc('day', bounds.end - {_SLACK}, :timezone) AS high
) AS whole
LEFT JOIN usage_zones ON {MINE} AND timezone = :timezone
    AND closed_until = date_trunc('day', closed_until, :timezone)
""")

BEFORE = f"bucket >= :start AND bucket < :before_end AND (bucket < :surely_before OR {_DAY} < :low)"
AFTER = f"bucket >= :after_start AND bucket < :end AND (bucket >= :surely_after OR {_DAY} >= :high)"
_KEPT = f"{MINE} AND timezone = :timezone AND start >= :low AND start < :high"
"""Together all of a range, each quarter once."""


def kept(grouping: Grouping | None) -> str:
    """Closed days as they are read."""
    groups = f", {grouping.name}" if grouping else ""
    return f"SELECT start, sums, 0{groups} FROM usage_days WHERE {_KEPT}"


@functools.lru_cache(maxsize=1)
def one_snapshot(db: AsyncEngine) -> AsyncEngine:
    """The same pool. Made once: that takes as long as a short statement."""
    return db.execution_options(isolation_level="REPEATABLE READ")


@dataclass(frozen=True, slots=True)
class Seam:
    """A range from `start` to `end`. Its days from `low` to `high` are taken as they are kept; none where these are equal.

    `long_ago` tells whether the last look that was noted is; None without a zone.
    """

    start: datetime
    end: datetime
    low: datetime
    high: datetime
    long_ago: bool | None

    def values(self) -> dict[str, datetime]:
        return {
            "low": self.low,
            "high": self.high,
            "before_end": min(self.end, self.low + SLACK),
            "surely_before": self.low - SLACK,
            "after_start": max(self.start, self.high - SLACK),
            "surely_after": self.high + SLACK,
        }

    def asks(self, rows: int) -> bool:
        """Whether days of this zone are to be kept, or still are to be: one that nobody looks at is dropped after 30 days."""
        return rows > MANY if self.long_ago is None else self.long_ago


async def seam(connection: AsyncConnection, user_id: str, wanted: Period) -> Seam:
    """Raises: Problem 422 for a range or a zone that can not be."""
    row = await bounded(connection, wanted, _SEAM, {"user_id": user_id})
    return Seam(row.start, row.end, row.low, row.high, row.long_ago)


_PATIENCE = text("SET LOCAL lock_timeout = '1s'")
_ASK = text(f"""
INSERT INTO usage_zones AS zone (user_id, timezone) SELECT CAST(:user_id AS uuid), :timezone
WHERE (SELECT count(*) FROM usage_zones WHERE {MINE} AND timezone <> :timezone
    AND looked_at > now() - interval '1 day') < {MOST_ZONES}
ON CONFLICT (user_id, timezone) DO UPDATE SET looked_at = now() WHERE zone.looked_at < now() - interval '1 day'
""")


async def ask_for_days(db: AsyncEngine, user_id: str, timezone: str) -> None:
    """In a transaction of its own: what has been read is an answer also where nothing can be written."""
    try:
        async with transaction(db, role=Role.USER, user_id=user_id) as connection:
            await connection.execute(_PATIENCE)
            await connection.execute(_ASK, {"user_id": user_id, "timezone": timezone})
    except (Unavailable, DBAPIError) as error:
        _log.warning("days of usage can not be asked for", reason=type(error).__name__)
