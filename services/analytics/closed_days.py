"""Days of usage that are over are kept summed in `usage_days`, for each zone in which a user looks at long ranges.

A quarter of an hour belongs to the day that `date_trunc` gives it in the zone, here and wherever days are read. That is not
always in the order of time: where a clock is put back over midnight, a few quarters belong to a later day than those that
follow. So a range of days is never taken for a range of quarters; `_SLACK` is more than the two ever differ.

See docs/decisions/0012 for why the sums are exact at any moment.
"""

# ruff: noqa: S608 - every part of these texts is a constant of this file

import asyncio

from sqlalchemy import RowMapping, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.analytics.statements import LOCK_ROLLUPS
from shared.db import is_unknown_zone, transaction
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.usage import MOST_ZONES
from shared.usage_sums import ARE_BARE, BARE, GROUPINGS, SUMS, by_starts

SECONDS = 60.0
_SLACK = "interval '24 hours'"
_AGE = "interval '72 hours'"
"""Days are closed a day later than the triggers of the ninth revision begin to watch; they say why."""
_AT_ONCE = "interval '744 hours'"
"""A month: whoever counts waits until it is closed."""

_log = get_logger(__name__)

_ZONE = "user_id = CAST(:user_id AS uuid) AND timezone = :timezone"
_KEYS = ", ".join(key for grouping in GROUPINGS for key in grouping.keys)
_LISTS = ("sums", *(grouping.name for grouping in GROUPINGS))


def _used(by: str, source: str, where: str) -> str:
    """What makes days: rows of `user_analytics`, and lines of the ledger that have no row there. No such line comes or changes
    without the row of its execution, at which the triggers look.

    `source`: from where both are taken, with `{table}` in the place of their table.
    """
    return f"""
SELECT {by}, analytics_type, {_KEYS}, {", ".join(SUMS)} FROM {source.format(table="user_analytics")} WHERE {where}
UNION ALL
SELECT {by}, 'token_usage', {_KEYS}, {BARE} FROM {source.format(table="usage_ledger")} WHERE {where} AND {ARE_BARE}"""


# Asks no zone anything: one that the server does not know would fail for all. In no order: one that fails otherwise, at which
# the rest waits for the next minute, must not always come before the same others.
_LISTED = text(f"""
SELECT user_id::text AS user_id, timezone, unwanted FROM (
    SELECT user_id, timezone, closed_until < now() - {_AGE} - {_SLACK} AS behind, looked_at < now() - interval '30 days'
        OR row_number() OVER (PARTITION BY user_id ORDER BY looked_at DESC, timezone) > :zones AS unwanted
    FROM usage_zones
) AS listed WHERE behind OR unwanted ORDER BY random()
""")
_DROP = text(f"DELETE FROM usage_zones WHERE {_ZONE}")

# Anew where a closed day does not begin at midnight any more: then zone data changed in the past. Moments are texts, since
# Python knows no infinity.
_BEHIND = f"""
SELECT since::text AS since, least(newest, date_trunc('day', coalesce(first, 'infinity') + {_AT_ONCE}, timezone))::text AS upto
FROM usage_zones AS zone
CROSS JOIN LATERAL (
    SELECT date_trunc('day', now() - {_AGE}, zone.timezone) AS newest, CASE
        WHEN closed_until <> date_trunc('day', closed_until, zone.timezone) OR EXISTS (
            SELECT FROM usage_days WHERE {_ZONE} AND start <> date_trunc('day', start, zone.timezone))
        THEN '-infinity' ELSE closed_until END AS since
) AS bounds
CROSS JOIN LATERAL (
    SELECT min(bucket) AS first FROM unnest(ARRAY['execution', 'token_usage']) AS kind CROSS JOIN LATERAL (
        SELECT bucket FROM user_analytics
        WHERE user_id = zone.user_id AND analytics_type = kind AND bucket >= since - {_SLACK}
        ORDER BY bucket LIMIT 1
    ) AS firsts
) AS earliest
WHERE {_ZONE} AND since < newest
"""
_IS_BEHIND = text(_BEHIND)
_TAKE = text(f"{_BEHIND} FOR NO KEY UPDATE OF zone")
_FORGET = text(f"DELETE FROM usage_days WHERE {_ZONE} AND start >= CAST(:since AS timestamptz)")
_QUARTERS = f"""bucket >= CAST(:since AS timestamptz) - {_SLACK} AND bucket < CAST(:upto AS timestamptz) + {_SLACK}
    AND user_id = CAST(:user_id AS uuid)"""
_CLOSE = text(f"""
INSERT INTO usage_days (user_id, timezone, start, {", ".join(_LISTS)})
SELECT CAST(:user_id AS uuid), :timezone, start, {", ".join(_LISTS)}
FROM ({by_starts(_used("date_trunc('day', bucket, :timezone) AS start", "{table}", _QUARTERS), GROUPINGS)}) AS days
WHERE start >= CAST(:since AS timestamptz) AND start < CAST(:upto AS timestamptz)
""")
_CLOSED = text(f"UPDATE usage_zones SET closed_until = CAST(:upto AS timestamptz) WHERE {_ZONE}")
# Counting waits behind a lock that is waited for: then days stay open for another minute. A plan for any range at all, which
# Postgres would make after a while, would read what everybody used in it.
_PATIENCE = text(
    "SELECT set_config('lock_timeout', '2s', true), set_config('plan_cache_mode', 'force_custom_plan', true)"
)

OPEN_ALL = text("UPDATE usage_zones SET closed_until = '-infinity' WHERE closed_until > '-infinity'")

_DAY = "user_id, timezone, start"
_WHOLE = by_starts(
    _used(
        "zone.user_id, zone.timezone, date_trunc('day', bucket, zone.timezone) AS start",
        f"usage_zones AS zone JOIN {{table}} AS used ON used.user_id = zone.user_id AND bucket < closed_until + {_SLACK}",
        "closed_until > '-infinity' AND date_trunc('day', bucket, zone.timezone) < closed_until",
    ),
    GROUPINGS,
    by=_DAY,
)
_KEPT = """
SELECT * FROM usage_days AS day WHERE start < (
    SELECT closed_until FROM usage_zones AS zone
    WHERE (zone.user_id, zone.timezone) = (day.user_id, day.timezone))
"""
_OTHER = [f"CASE WHEN whole.{name}::jsonb <> kept.{name}::jsonb THEN 'other {name}' END" for name in _LISTS]
# What differs between closed days and what they are made of, and how: nothing, at any moment. The text of JSON does not matter.
DAY_DIFFERENCES = text(f"""
WITH whole AS ({_WHOLE}), kept AS ({_KEPT}), compared AS (
    SELECT concat_ws(', ', CASE WHEN kept.sums IS NULL THEN 'missing' WHEN whole.sums IS NULL THEN 'surplus' END,
        {", ".join(_OTHER)}) AS what, {_DAY}
    FROM whole FULL JOIN kept USING ({_DAY})
)
SELECT what, {_DAY} FROM compared WHERE what <> ''
""")


async def keep_closed(engine: AsyncEngine) -> None:
    """Until cancelled. Several replicas may do the same. Of an outage only its beginning is logged."""
    failing = False
    while True:
        try:
            await close_days(engine)
            failing = False
        except (Unavailable, SQLAlchemyError) as error:
            if not failing:
                _log.warning("days of usage are not closed yet", reason=str(error))
            failing = True
        await asyncio.sleep(SECONDS)


async def close_days(engine: AsyncEngine) -> int:
    """Closes what can be closed, and deletes zones that nobody needs. Gives how often anything was closed.

    Raises: Unavailable; what was closed by then stays so.
    """
    async with transaction(engine) as connection:
        listed = (await connection.execute(_LISTED, {"zones": MOST_ZONES})).mappings().all()
    steps = 0
    for row in listed:
        zone = {"user_id": row["user_id"], "timezone": row["timezone"]}
        if row["unwanted"]:
            await _drop(engine, zone)
            continue
        try:
            while await _step(engine, zone):
                steps += 1
        except DBAPIError as error:
            if not is_unknown_zone(error):
                raise
            _log.warning("a time zone is not known any more", timezone=zone["timezone"])
            await _drop(engine, zone)
    return steps


async def _drop(engine: AsyncEngine, zone: dict[str, str]) -> None:
    async with transaction(engine) as connection:
        await connection.execute(_DROP, zone)


async def _step(engine: AsyncEngine, zone: dict[str, str]) -> bool:
    """Closes a month at most. False when nothing was open any more."""
    async with transaction(engine) as connection:
        await connection.execute(_PATIENCE)
        if (await connection.execute(_IS_BEHIND, zone)).one_or_none() is None:
            return False
        # Before the row of the zone: the trigger locks them in this order too. Another replica may have been first.
        await connection.execute(LOCK_ROLLUPS)
        span = (await connection.execute(_TAKE, zone)).mappings().one_or_none()
        if span is not None:
            await _close(connection, {**zone, **span})
        return span is not None


async def _close(connection: AsyncConnection, values: dict[str, str]) -> None:
    """Nobody counts meanwhile: what is summed is all there is, and what comes later finds the days closed."""
    await connection.execute(_FORGET, values)
    await connection.execute(_CLOSE, values)
    await connection.execute(_CLOSED, values)


async def day_differences(connection: AsyncConnection) -> list[RowMapping]:
    """Closed days that are not the sum of what they are made of, and sums that have no day."""
    return list((await connection.execute(DAY_DIFFERENCES)).mappings())
