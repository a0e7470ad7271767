"""From when to when: a period as it was asked for, and its bounds by the clock and the zones of Postgres."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.problems import FieldError, Problem, invalid
from shared.db import is_unknown_zone

MOST_DAYS = 400
YEARS = range(2000, 2200)


class Bucket(StrEnum):
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """`start` and `end` without a zone are times in `timezone`. Without an end: now.

    Without a start: `days` of 24 hours before the end, from the beginning of the hour or day (`whole`) on.
    """

    start: datetime | None
    end: datetime | None
    timezone: str
    days: int = 1
    whole: Bucket = Bucket.HOUR


BOUNDS = """
WITH given AS (
    SELECT coalesce(CAST(:end AS timestamptz), CAST(:end_here AS timestamp) AT TIME ZONE :timezone, now()) AS upto,
        coalesce(CAST(:start AS timestamptz), CAST(:start_here AS timestamp) AT TIME ZONE :timezone) AS since
)
SELECT date_bin('15 minutes', coalesce(since, date_trunc(:whole, upto - make_interval(hours => 24 * :days), :timezone)),
        '2000-01-01Z') AS start,
    date_bin('15 minutes', upto + interval '14 minutes 59.999999 seconds', '2000-01-01Z') AS end
FROM given WHERE now() AT TIME ZONE :timezone IS NOT NULL -- fails for a zone that does not exist
"""
_BOUNDS = text(BOUNDS)


async def bounds(connection: AsyncConnection, wanted: Period) -> tuple[datetime, datetime]:
    """First and last moment, on quarters of an hour. Raises: Problem 422 for a range or a zone that can not be."""
    row = await bounded(connection, wanted, _BOUNDS, {})
    return row.start, row.end


async def bounded(
    connection: AsyncConnection, wanted: Period, statement: TextClause, more: Mapping[str, Any]
) -> Row[Any]:
    """The one row of a statement that has `BOUNDS` in it, with their `start` and `end`, and further values.

    Raises: Problem 422.
    """
    for field, given in (("from", wanted.start), ("to", wanted.end)):
        if given is not None and given.year not in YEARS:
            raise wrong(field, f"must be in the years {YEARS.start} to {YEARS.stop - 1}")
    values = {
        "timezone": wanted.timezone,
        "days": wanted.days,
        "whole": wanted.whole.value,
        **dict(zip(("start", "start_here"), _by_zone(wanted.start), strict=True)),
        **dict(zip(("end", "end_here"), _by_zone(wanted.end), strict=True)),
        **more,
    }
    try:
        row = (await connection.execute(statement, values)).one()
    except DBAPIError as error:
        if is_unknown_zone(error):
            raise wrong("timezone", "is not the name of a time zone, such as Europe/Vienna") from None
        raise
    if row.start >= row.end:
        raise wrong("from", "must be before `to`")
    if row.end - row.start > timedelta(days=MOST_DAYS, hours=1):
        raise wrong("from", f"must be at most {MOST_DAYS} days before `to`")
    return row


def _by_zone(time: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The time as one with a zone and as one without: at most one of the two."""
    return (time, None) if time is None or time.tzinfo is not None else (None, time)


def wrong(field: str, detail: str) -> Problem:
    return invalid("Some of the request's parameters are not valid.", [FieldError(field, detail)])
