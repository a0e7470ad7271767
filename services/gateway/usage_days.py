"""A user's quarters of an hour, or days that analytics keeps summed, whichever a range by day is made of.

The closed days of a zone (`usage_days`, before `closed_until` of `usage_zones`) stand for what `user_analytics` has of them.
Which are closed is read by the statement that reads the sums: of one moment, whatever is closed or opened meanwhile.

A quarter belongs to the day that `date_trunc` gives it. Where a clock is put back over midnight, as in the Azores and, long ago, in
Newfoundland, that is not in the order of time. So days are told apart by their starts and never by their quarters, and the days at
both ends of a range, of which it may have a part only, are always summed anew.
"""

# ruff: noqa: S608 - every part of these texts is a constant of this file

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import Role, transaction
from shared.errors import Unavailable
from shared.logs import get_logger

MANY = 5000
"""Rows. Summing more than these takes so long that the zone's days are worth keeping."""
ZONES = 4
"""Of one user, that are asked for within a day: analytics keeps as many, and closing a long range anew makes it wait."""

_log = get_logger(__name__)

_DAY = "date_trunc('day', bucket, :timezone)"
_MINE = "user_id = CAST(:user_id AS uuid)"
_SLACK = "interval '24 hours'"
"""More than any zone's day and its quarters are out of order."""

# Days from `low` to `high` are taken as they are kept; none where these are equal. Where a closed day does not end at midnight,
# the zone's rules were changed since.
SEAM = f"""seam AS MATERIALIZED (
    SELECT low, greatest(low, least(high, coalesce(closed_until, '-infinity'))) AS high, looked_at < now() - interval '1 day' AS long_ago
    FROM (SELECT date_trunc('day', CAST(:start AS timestamptz) + 2 * {_SLACK}, :timezone) AS low,
        date_trunc('day', CAST(:end AS timestamptz) - {_SLACK}, :timezone) AS high) AS whole
    LEFT JOIN usage_zones ON {_MINE} AND timezone = :timezone
        AND closed_until = date_trunc('day', closed_until, :timezone)
)"""

# As sub-queries they are known when the scan of an index begins.
BEFORE = f"""bucket >= :start AND bucket < least(:end, (SELECT low + {_SLACK} FROM seam))
        AND (bucket < (SELECT low - {_SLACK} FROM seam) OR {_DAY} < (SELECT low FROM seam))"""
AFTER = f"""bucket < :end AND bucket >= greatest(:start, (SELECT high - {_SLACK} FROM seam))
        AND (bucket >= (SELECT high + {_SLACK} FROM seam) OR {_DAY} >= (SELECT high FROM seam))"""
KEPT = f"""{_MINE} AND timezone = :timezone
        AND start >= (SELECT low FROM seam) AND start < (SELECT high FROM seam)"""

ASKS = f"coalesce((SELECT long_ago FROM seam), sum(quarters) > {MANY})"
"""Whether days of this zone are to be kept, or still are to be: a zone that nobody looks at is dropped after 30 days."""

_PATIENCE = text("SET LOCAL lock_timeout = '1s'")
_ASK = text(f"""
INSERT INTO usage_zones AS zone (user_id, timezone) SELECT CAST(:user_id AS uuid), :timezone
WHERE (SELECT count(*) FROM usage_zones WHERE {_MINE} AND timezone <> :timezone
    AND looked_at > now() - interval '1 day') < {ZONES}
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
