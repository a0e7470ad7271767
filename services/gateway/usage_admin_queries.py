"""Usage of everybody with its costs, for superadmins. Each answer is one statement, so its parts agree."""

# ruff: noqa: S608 - every part of these texts is a constant of this file

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.usage_periods import Period, bounds
from services.gateway.usage_queries import MOST_ITEMS, START, refuse_too_many
from shared.db import Role, transaction
from shared.usage_sums import ALL_SUMS, ARE_BARE, BARE, EACH_SUM


class AdminBucket(StrEnum):
    HOUR = "hour"
    DAY = "day"
    ALL = "all"
    """The whole period is one bucket."""


class AdminGroup(StrEnum):
    USER = "user"
    ENGINE = "engine"
    MODEL = "model"
    KIND = "kind"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminWanted(Period):
    """`user_id` None means everybody."""

    bucket: AdminBucket
    group_by: AdminGroup | None
    user_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminFound:
    """`start` (inclusive) and `end` (exclusive) are on quarters of an hour."""

    start: datetime
    end: datetime
    items: Sequence[Row[Any]]
    totals: Row[Any]


_COST = "sum(total_cost) AS cost, sum(unpriced_tokens)::bigint AS unpriced_tokens"
_GROUPS = {
    None: "NULL AS key, NULL AS name",
    AdminGroup.USER: "user_id::text AS key, NULL AS name",
    AdminGroup.ENGINE: "engine_id AS key, engine_name AS name",
    AdminGroup.MODEL: "model AS key, NULL AS name",
    AdminGroup.KIND: "model_type AS key, NULL AS name",
}
_BUCKET = """CASE WHEN CAST(:bucket AS text) = 'all' THEN CAST(:start AS timestamptz)
        ELSE date_trunc(nullif(CAST(:bucket AS text), 'all'), bucket, :timezone) END AS start"""
_WANTED = """bucket >= :start AND bucket < :end
        AND (CAST(:user_id AS uuid) IS NULL OR user_id = CAST(:user_id AS uuid))"""
_NAMES = "(SELECT display_name FROM users WHERE id = answer.key::uuid)"


def _usage(group_by: AdminGroup | None) -> str:
    """The sums by start, key and name; and of all of it, in a row without a start."""
    by_model = group_by in (AdminGroup.MODEL, AdminGroup.KIND)
    parts = [
        f"""
    SELECT {_BUCKET}, {_GROUPS[group_by]}, analytics_type, {EACH_SUM}, sum(total_cost) AS total_cost,
        sum(unpriced_tokens) AS unpriced_tokens
    FROM user_analytics WHERE {_WANTED}
    GROUP BY 1, 2, 3, 4"""
    ]
    if by_model:
        parts.append(f"""
    SELECT {_BUCKET}, {_GROUPS[group_by]}, 'token_usage', {BARE}, 0, 0
    FROM usage_ledger WHERE {_WANTED} AND {ARE_BARE}""")
    # What is not of a model counts in the row of all only.
    sums, these = (EACH_SUM, "WHERE analytics_type = 'token_usage'") if by_model else (ALL_SUMS, "")
    return f"""
WITH used AS ({" UNION ALL ".join(parts)}), answer AS (
    SELECT NULL::timestamptz AS start, NULL AS key, NULL AS name, {ALL_SUMS}, {_COST} FROM used
    UNION ALL
    SELECT start, key, name, {sums}, {_COST} FROM used {these} GROUP BY start, key, name
)
SELECT answer.*, {START}, {_NAMES if group_by is AdminGroup.USER else "name"} AS called
FROM answer ORDER BY start NULLS FIRST, cost DESC, key, called LIMIT :most
"""


_USAGE = {group_by: text(_usage(group_by)) for group_by in (None, *AdminGroup)}


async def admin_usage(db: AsyncEngine, wanted: AdminWanted) -> AdminFound:
    """Of each bucket, what cost most comes first. Raises: Problem 422 for a range or a zone that can not be; Unavailable."""
    async with transaction(db, role=Role.ADMIN) as connection:
        start, end = await bounds(connection, wanted)
        values = {
            "bucket": wanted.bucket.value,
            "timezone": wanted.timezone,
            "user_id": wanted.user_id,
            "start": start,
            "end": end,
            "most": MOST_ITEMS + 2,
        }
        totals, *items = (await connection.execute(_USAGE[wanted.group_by], values)).all()
    refuse_too_many(len(items))
    return AdminFound(start=start, end=end, items=items, totals=totals)
