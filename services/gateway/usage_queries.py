"""Token usage of one user, from the rollups, their closed days and the ledger, read in one snapshot, so its parts agree."""

# ruff: noqa: S608 - every part of these texts is a constant of this file

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.gateway import usage_days as days
from services.gateway.problems import FieldError, Problem, invalid
from shared.db import Role, is_unknown_zone, transaction

MOST_DAYS = 400
MOST_ITEMS = 20_000
"""In one answer."""
YEARS = range(2000, 2200)


class Bucket(StrEnum):
    HOUR = "hour"
    DAY = "day"


class GroupBy(StrEnum):
    ENGINE = "engine"
    MODEL = "model"
    KIND = "kind"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Period):
    bucket: Bucket
    group_by: GroupBy | None


class Sums(NamedTuple):
    """A row of the statement below. Of a year there are thousands, and of a `Row` each column would be looked up by its name.

    The totals have no start, and None for sums of nothing.
    """

    start: datetime
    key: str
    name: str
    input: int
    cached: int
    output: int
    thoughts: int
    tool: int
    total: int
    estimated_calls: int
    unknown_calls: int
    completed: int
    stopped: int
    failed: int
    here: datetime
    rows: int
    """Of `user_analytics`, that were summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`start` (inclusive) and `end` (exclusive) are on quarters of an hour."""

    start: datetime
    end: datetime
    items: Sequence[Sums]
    totals: Sums


_SUMS = """
    sum(input_tokens)::bigint AS input, sum(cached_tokens)::bigint AS cached,
    sum(output_tokens)::bigint AS output, sum(thoughts_tokens)::bigint AS thoughts,
    sum(tool_tokens)::bigint AS tool, sum(total_tokens)::bigint AS total,
    coalesce({estimated_calls}, 0)::bigint AS estimated_calls, coalesce({unknown_calls}, 0)::bigint AS unknown_calls,
    sum(completed)::bigint AS completed, sum(stopped)::bigint AS stopped, sum(failed)::bigint AS failed"""
# Rows of type `execution` count all calls, those of type `token_usage` only calls that have tokens, but by model.
_CALLS = ("estimated_calls", "unknown_calls")
_FILTERED = "sum({name}) FILTER (WHERE analytics_type = 'execution')"
ALL_CALLS = _SUMS.format(**{name: _FILTERED.format(name=name) for name in _CALLS})
# The totals have all calls; a model's group has those of its rows, which are of one type.
_ALL_OR_OF_MODELS = _SUMS.format(
    **{
        name: f"CASE WHEN GROUPING(start) = 1 THEN {_FILTERED.format(name=name)} ELSE sum({name}) END"
        for name in _CALLS
    }
)

_COLUMNS = (
    *(f"{kind}_tokens" for kind in ("input", "cached", "output", "thoughts", "tool", "total")),
    *("estimated_calls", "unknown_calls", "completed", "stopped", "failed"),
)
EACH_SUM = ", ".join(f"sum({name})::bigint AS {name}" for name in _COLUMNS)
"""Of the rows of one kind in a bucket: all further sums are of a few of these, not of every row once more."""

BARE_CALLS = """
    0 AS input_tokens, 0 AS cached_tokens, 0 AS output_tokens, 0 AS thoughts_tokens, 0 AS tool_tokens,
    0 AS total_tokens, sum(calls) FILTER (WHERE certainty = 'estimated')::bigint AS estimated_calls,
    sum(calls) FILTER (WHERE certainty = 'unknown')::bigint AS unknown_calls, 0 AS completed, 0 AS stopped, 0 AS failed"""
ARE_BARE = "line > 0 AND total_tokens = 0 AND certainty <> 'measured'"
"""Lines of the ledger without tokens that make their model's sum uncertain: of these the rollups have no row by model."""

_BOUNDS = text("""
WITH given AS (
    SELECT coalesce(CAST(:end AS timestamptz), CAST(:end_here AS timestamp) AT TIME ZONE :timezone, now()) AS upto,
        coalesce(CAST(:start AS timestamptz), CAST(:start_here AS timestamp) AT TIME ZONE :timezone) AS since
)
SELECT date_bin('15 minutes', coalesce(since, date_trunc(:whole, upto - make_interval(hours => 24 * :days), :timezone)),
        '2000-01-01Z') AS start,
    date_bin('15 minutes', upto + interval '14 minutes 59.999999 seconds', '2000-01-01Z') AS end
FROM given WHERE now() AT TIME ZONE :timezone IS NOT NULL -- fails for a zone that does not exist
""")


_GROUPS = {
    None: "NULL AS key, NULL AS name",
    GroupBy.ENGINE: "engine_id AS key, engine_name AS name",
    GroupBy.MODEL: "model AS key, NULL AS name",
    GroupBy.KIND: "model_type AS key, NULL AS name",
}
_RANGE = "bucket >= :start AND bucket < :end"
_START = "date_trunc(:bucket, bucket, :timezone) AS start"


def by_groups(parts: Iterable[str], *, by_model: bool, more: str) -> str:
    """The sums of what the parts select, by start, key and name; and of all of it, in a row without a start.

    `more`: further columns. By model, what is not of a model counts in the row of all only.
    """
    return f"""
SELECT start, key, name, {_ALL_OR_OF_MODELS if by_model else ALL_CALLS}, start AT TIME ZONE :timezone AS here, {more}
FROM ({" UNION ALL ".join(parts)}) AS sums
GROUP BY GROUPING SETS ((start, key, name), ())
{"HAVING GROUPING(start) = 1 OR bool_or(analytics_type = 'token_usage')" if by_model else ""}
"""


def _usage(bucket: Bucket, group_by: GroupBy | None) -> str:
    by_model = group_by in (GroupBy.MODEL, GroupBy.KIND)
    ranges = (days.BEFORE, days.AFTER) if bucket is Bucket.DAY else (_RANGE,)
    parts = [
        f"""
    SELECT {_START}, {_GROUPS[group_by]}, analytics_type, {EACH_SUM}, count(*) AS rows
    FROM user_analytics WHERE {days.MINE} AND {these}
    GROUP BY 1, 2, 3, 4"""
        for these in ranges
    ]
    if bucket is Bucket.DAY:
        parts.append(f"""
    SELECT start, {_GROUPS[group_by]}, analytics_type, {", ".join(_COLUMNS)}, 0
    FROM usage_days WHERE {days.KEPT}""")  # few enough to be summed at once below
    if by_model:
        parts.append(f"""
    SELECT {_START}, {_GROUPS[group_by]}, 'token_usage', {BARE_CALLS}, 0
    FROM usage_ledger WHERE {days.MINE} AND {_RANGE} AND {ARE_BARE}
    GROUP BY 1, 2, 3""")
    sums = by_groups(parts, by_model=by_model, more="coalesce(sum(rows), 0)::bigint AS rows")
    return f"{sums} ORDER BY start NULLS FIRST, key, name LIMIT :most"


_USAGE = {
    (bucket, group_by): text(_usage(bucket, group_by)) for bucket in Bucket for group_by in (None, *GroupBy)
}

_RECENT = text("""
SELECT mark.execution_id::text AS id, mark.engine_id, mark.engine_name, mark.outcome, mark.kind,
    mark.requested_at, mark.started_at, mark.ended_at,
    coalesce(sum(fact.input_tokens), 0)::bigint AS input, coalesce(sum(fact.cached_tokens), 0)::bigint AS cached,
    coalesce(sum(fact.output_tokens), 0)::bigint AS output,
    coalesce(sum(fact.thoughts_tokens), 0)::bigint AS thoughts,
    coalesce(sum(fact.tool_tokens), 0)::bigint AS tool, coalesce(sum(fact.total_tokens), 0)::bigint AS total,
    count(*) FILTER (WHERE fact.certainty = 'estimated') AS estimated_calls,
    count(*) FILTER (WHERE fact.certainty = 'unknown') AS unknown_calls,
    coalesce(array_agg(DISTINCT fact.model) FILTER (WHERE fact.model IS NOT NULL), '{}') AS models
FROM (
    SELECT execution_id, engine_id, engine_name, outcome, kind, requested_at, started_at, ended_at
    FROM usage_ledger WHERE line = 0 AND user_id = CAST(:user_id AS uuid)
    ORDER BY ended_at DESC, execution_id DESC LIMIT :most
) AS mark
LEFT JOIN usage_ledger AS fact ON fact.execution_id = mark.execution_id AND fact.line > 0
GROUP BY mark.execution_id, mark.engine_id, mark.engine_name, mark.outcome, mark.kind,
    mark.requested_at, mark.started_at, mark.ended_at
ORDER BY mark.ended_at DESC, mark.execution_id DESC
""")


async def usage(db: AsyncEngine, user_id: str, wanted: Wanted) -> Found:
    """Raises: Problem 422 for a range or a zone that can not be; Unavailable."""
    one_snapshot = db.execution_options(isolation_level=days.ISOLATION)
    async with transaction(one_snapshot, role=Role.USER, user_id=user_id) as connection:
        start, end = await bounds(connection, wanted)
        values = {
            "bucket": wanted.bucket.value,
            "timezone": wanted.timezone,
            "user_id": user_id,
            "start": start,
            "end": end,
            "most": MOST_ITEMS + 2,
        }
        seam = await days.seam(connection, values) if wanted.bucket is Bucket.DAY else None
        if seam is not None:
            values |= seam.values(start, end)
        statement = _USAGE[wanted.bucket, wanted.group_by]
        totals, *items = [Sums._make(row) for row in (await connection.execute(statement, values)).all()]
    refuse_too_many(items)
    if seam is not None and seam.asks(totals.rows):
        await days.ask_for_days(db, user_id, wanted.timezone)
    return Found(start=start, end=end, items=items, totals=totals)


def refuse_too_many(items: Sequence[object]) -> None:
    """Raises: Problem 422."""
    if len(items) > MOST_ITEMS:
        fault = FieldError("bucket", f"gives more than {MOST_ITEMS:,} items: take days, or a shorter range")
        raise invalid("This range has too many buckets.", [fault])


async def bounds(connection: AsyncConnection, wanted: Period) -> tuple[datetime, datetime]:
    """First and last moment, on quarters of an hour. Raises: Problem 422 for a range or a zone that can not be."""
    for field, given in (("from", wanted.start), ("to", wanted.end)):
        if given is not None and given.year not in YEARS:
            raise _wrong(field, f"must be in the years {YEARS.start} to {YEARS.stop - 1}")
    values = {
        "timezone": wanted.timezone,
        "days": wanted.days,
        "whole": wanted.whole.value,
        **dict(zip(("start", "start_here"), _by_zone(wanted.start), strict=True)),
        **dict(zip(("end", "end_here"), _by_zone(wanted.end), strict=True)),
    }
    try:
        start, end = (await connection.execute(_BOUNDS, values)).one()
    except DBAPIError as error:
        if is_unknown_zone(error):
            raise _wrong("timezone", "is not the name of a time zone, such as Europe/Vienna") from None
        raise
    if start >= end:
        raise _wrong("from", "must be before `to`")
    if end - start > timedelta(days=MOST_DAYS, hours=1):
        raise _wrong("from", f"must be at most {MOST_DAYS} days before `to`")
    return start, end


def _by_zone(time: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The time as one with a zone and as one without: at most one of the two."""
    return (time, None) if time is None or time.tzinfo is not None else (None, time)


def _wrong(field: str, detail: str) -> Problem:
    return invalid("Some of the request's parameters are not valid.", [FieldError(field, detail)])


async def recent(db: AsyncEngine, user_id: str, limit: int) -> Sequence[Row[Any]]:
    """The executions that ended last, with what they used. Raises: Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        return (await connection.execute(_RECENT, {"user_id": user_id, "most": limit})).all()
