"""Token usage of one user, from the rollups, their closed days and the ledger, read in one snapshot, so its parts agree."""

# ruff: noqa: S608 - every part of these texts is a constant of this file

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway import usage_days as days
from services.gateway.problems import FieldError, invalid
from services.gateway.usage_periods import Bucket, Period, bounds
from shared.db import Role, transaction
from shared.usage_sums import (
    ARE_BARE,
    BARE,
    EACH_SUM,
    ENGINES,
    KINDS,
    MODELS,
    SUMS,
    Grouping,
    by_starts,
)

MOST_ITEMS = 20_000
"""In one answer."""


class GroupBy(StrEnum):
    ENGINE = "engine"
    MODEL = "model"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Period):
    bucket: Bucket
    group_by: GroupBy | None


class Sums(NamedTuple):
    """As `shared.usage_sums.SUMS`."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    thoughts_tokens: int
    tool_tokens: int
    total_tokens: int
    estimated_calls: int
    unknown_calls: int
    completed: int
    stopped: int
    failed: int


class Used(NamedTuple):
    """What was used in one bucket, as Postgres tells it. Equal ones are told alike."""

    here: str
    """The bucket's start in the zone, ISO 8601, without the zone."""
    east: int
    """Seconds that the zone was ahead of UTC then."""
    sums: str
    """JSON list, in which the sums have the places of `Sums`."""
    groups: str
    """JSON list of such lists, each with one or two keys before its sums; without grouping one, of all, without keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`start` (inclusive) and `end` (exclusive) are on quarters of an hour."""

    start: datetime
    end: datetime
    used: Sequence[Used]
    totals: Sums


_GROUPINGS = {None: None, GroupBy.ENGINE: ENGINES, GroupBy.MODEL: MODELS, GroupBy.KIND: KINDS}
_RANGE = "bucket >= :start AND bucket < :end"
_BUCKET = "date_trunc(:bucket, bucket, :timezone) AS start"
_LOCAL = "start AT TIME ZONE :timezone"
START = f"""to_char({_LOCAL}, 'YYYY-MM-DD"T"HH24:MI:SS') AS here,
    extract(epoch FROM {_LOCAL} - start AT TIME ZONE 'UTC')::integer AS east"""
"""The start as `Used` has it."""


def _open(ranges: Iterable[str], grouping: Grouping | None) -> str:
    """What is summed at each look."""
    keys = "".join(f"{key}, " for key in grouping.keys) if grouping else ""
    parts = [
        f"""
    SELECT {_BUCKET}, analytics_type, {keys}{EACH_SUM}, count(*) AS rows
    FROM user_analytics WHERE {days.MINE} AND {these}
    GROUP BY start, {keys}analytics_type"""
        for these in ranges
    ]
    if grouping and grouping.of_models:
        parts += [
            f"""
    SELECT {_BUCKET}, 'token_usage', {keys}{BARE}, 0
    FROM usage_ledger WHERE {days.MINE} AND {these} AND {ARE_BARE}"""
            for these in ranges
        ]
    groupings = [grouping] if grouping else []
    return by_starts(" UNION ALL ".join(parts), groupings, more="rows", most="LIMIT :most")


def _usage(bucket: Bucket, group_by: GroupBy | None) -> str:
    grouping = _GROUPINGS[group_by]
    groups = grouping.name if grouping else "json_build_array(sums)"
    if bucket is Bucket.DAY:
        source = f"({_open((days.BEFORE, days.AFTER), grouping)}) UNION ALL {days.kept(grouping)}"
    else:
        source = _open((_RANGE,), grouping)
    return f"""
SELECT {START}, sums::text, {groups}::text, rows
FROM ({source}) AS used ORDER BY start
"""


_USAGE = {
    (bucket, group_by): text(_usage(bucket, group_by)) for bucket in Bucket for group_by in (None, *GroupBy)
}

_RECENT = text("""
SELECT mark.execution_id::text AS id, mark.engine_id, mark.engine_name, mark.outcome, mark.kind,
    mark.requested_at, mark.started_at, mark.ended_at,
    coalesce(sum(fact.input_tokens), 0)::bigint AS input_tokens,
    coalesce(sum(fact.cached_tokens), 0)::bigint AS cached_tokens,
    coalesce(sum(fact.output_tokens), 0)::bigint AS output_tokens,
    coalesce(sum(fact.thoughts_tokens), 0)::bigint AS thoughts_tokens,
    coalesce(sum(fact.tool_tokens), 0)::bigint AS tool_tokens,
    coalesce(sum(fact.total_tokens), 0)::bigint AS total_tokens,
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
    async with transaction(days.one_snapshot(db), role=Role.USER, user_id=user_id) as connection:
        seam = await days.seam(connection, user_id, wanted) if wanted.bucket is Bucket.DAY else None
        start, end = (seam.start, seam.end) if seam else await bounds(connection, wanted)
        values = {
            "bucket": wanted.bucket.value,
            "timezone": wanted.timezone,
            "user_id": user_id,
            "start": start,
            "end": end,
            "most": MOST_ITEMS + 1,
            **(seam.values() if seam else {}),
        }
        rows = (await connection.execute(_USAGE[wanted.bucket, wanted.group_by], values)).all()
    if seam is not None and seam.asks(sum(row.rows for row in rows)):
        await days.ask_for_days(db, user_id, wanted.timezone)
    used = [Used._make(row[:4]) for row in rows]
    return Found(start=start, end=end, used=used, totals=_added(used))


def _added(used: Sequence[Used]) -> Sums:
    lists = orjson.loads(f"[{','.join([one.sums for one in used])}]")
    return Sums._make(map(sum, zip(*lists, strict=True)) if lists else [0] * len(SUMS))


def refuse_too_many(items: int) -> None:
    """Raises: Problem 422."""
    if items > MOST_ITEMS:
        fault = FieldError("bucket", f"gives more than {MOST_ITEMS:,} items: take days, or a shorter range")
        raise invalid("This range has too many buckets.", [fault])


async def recent(db: AsyncEngine, user_id: str, limit: int) -> Sequence[Row[Any]]:
    """The executions that ended last, with what they used. Raises: Unavailable."""
    async with transaction(db, role=Role.USER, user_id=user_id) as connection:
        return (await connection.execute(_RECENT, {"user_id": user_id, "most": limit})).all()
