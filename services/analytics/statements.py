"""The SQL of the rollups: one statement counts a batch, and one definition says what a rollup is."""

# ruff: noqa: S608 - every part of these texts is a constant of this file

from sqlalchemy import TextClause, text

_KEY = "user_id, analytics_type, bucket, engine_id, engine_name, model, model_type"
_SUMS = (
    "calls",
    "estimated_calls",
    "unknown_calls",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "thoughts_tokens",
    "tool_tokens",
    "total_cost",
    "unpriced_tokens",
    "completed",
    "stopped",
    "failed",
    "duration_ms",
    "started",
)

_CALLS = """sum(calls)::bigint AS calls,
    coalesce(sum(calls) FILTER (WHERE certainty = 'estimated'), 0)::bigint AS estimated_calls,
    coalesce(sum(calls) FILTER (WHERE certainty = 'unknown'), 0)::bigint AS unknown_calls"""


def rollup_of(lines: str) -> str:
    """The rows of user_analytics that lines of the ledger give: of a batch, or of the whole ledger."""
    return f"""
SELECT user_id, 'execution' AS analytics_type, bucket, engine_id, engine_name,
    '' AS model, 'none' AS model_type,
    {_CALLS},
    0::bigint AS input_tokens, 0::bigint AS cached_tokens, 0::bigint AS output_tokens,
    0::bigint AS thoughts_tokens, 0::bigint AS tool_tokens,
    0::numeric AS total_cost, 0::bigint AS unpriced_tokens,
    count(*) FILTER (WHERE outcome = 'completed') AS completed,
    count(*) FILTER (WHERE outcome = 'stopped') AS stopped,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    coalesce(sum(greatest(extract(epoch FROM ended_at - started_at) * 1000, 0)::bigint), 0)::bigint
        AS duration_ms,
    count(started_at) AS started
FROM {lines}
GROUP BY user_id, bucket, engine_id, engine_name
UNION ALL
SELECT user_id, 'token_usage', bucket, engine_id, engine_name, model, model_type,
    {_CALLS},
    sum(input_tokens)::bigint, sum(cached_tokens)::bigint, sum(output_tokens)::bigint,
    sum(thoughts_tokens)::bigint, sum(tool_tokens)::bigint, coalesce(sum(cost), 0),
    coalesce(sum(total_tokens) FILTER (WHERE cost IS NULL), 0)::bigint, 0, 0, 0, 0, 0
FROM {lines}
WHERE line > 0 AND total_tokens > 0
GROUP BY user_id, bucket, engine_id, engine_name, model, model_type
"""


def _add_up(source: str) -> str:
    """Adds rows to user_analytics, in the order of their key, so that writers can not deadlock."""
    return f"""
INSERT INTO user_analytics AS old ({_KEY}, {", ".join(_SUMS)})
SELECT {_KEY}, {", ".join(_SUMS)} FROM {source} ORDER BY {_KEY}
ON CONFLICT ({_KEY}) DO UPDATE SET {", ".join(f"{name} = old.{name} + excluded.{name}" for name in _SUMS)}
"""


_MARK = {
    "execution_id": "uuid",
    "user_id": "uuid",
    "engine_id": "text",
    "engine_name": "text",
    "bucket": "timestamptz",
    "ended_at": "timestamptz",
    "event_id": "text",
    "outcome": "text",
    "kind": "text",
    "attempts": "integer",
    "requested_at": "timestamptz",
    "started_at": "timestamptz",
}
_FACT = {
    "execution_id": "uuid",
    "line": "smallint",
    "model": "text",
    "model_type": "text",
    "certainty": "text",
    "long_context": "boolean",
    "calls": "bigint",
    "input_tokens": "bigint",
    "cached_tokens": "bigint",
    "output_tokens": "bigint",
    "thoughts_tokens": "bigint",
    "tool_tokens": "bigint",
    "cost": "numeric",
    "price_version": "bigint",
}


def _given(columns: dict[str, str], parameter: str) -> str:
    """Rows from a parameter that holds a JSON list of objects.

    One array per column is the other way; the driver writes those one value at a time, and half as fast overall.
    """
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    return f"json_to_recordset(CAST(:{parameter} AS json)) AS given ({typed})"


_OF_FACT = ", ".join(name for name in _FACT if name != "execution_id")

# A mark that is new decides that its facts are new; only what is new is summed.
COUNT: TextClause = text(f"""
WITH marks AS (
    INSERT INTO usage_ledger (line, {", ".join(_MARK)})
    SELECT 0, {", ".join(_MARK)} FROM {_given(_MARK, "marks")} ORDER BY execution_id
    ON CONFLICT (execution_id, line) DO NOTHING
    RETURNING *
), facts AS (
    INSERT INTO usage_ledger (execution_id, user_id, engine_id, engine_name, bucket, ended_at, {_OF_FACT})
    SELECT marks.execution_id, user_id, engine_id, engine_name, bucket, ended_at,
        {", ".join(f"given.{name}" for name in _FACT if name != "execution_id")}
    FROM {_given(_FACT, "facts")} JOIN marks ON marks.execution_id = given.execution_id
    RETURNING *
), fresh AS (
    SELECT * FROM marks UNION ALL SELECT * FROM facts
), sums AS ({rollup_of("fresh")}
), added AS ({_add_up("sums")}
)
SELECT count(*) FROM marks
""")

SET_ASIDE: TextClause = text("""
INSERT INTO usage_rejects (event_id, execution_id, stream_seq, ended_at, reason, detail, body)
VALUES (:event_id, :execution_id, :stream_seq, :ended_at, :reason, :detail, :body)
ON CONFLICT (event_id) DO NOTHING
""")

# What differs between the rollups and their ledger: nothing, at any moment.
DIFFERENCES: TextClause = text(f"""
WITH whole AS ({rollup_of("usage_ledger")})
(SELECT 'missing' AS what, {_KEY}, {", ".join(_SUMS)} FROM whole
 EXCEPT SELECT 'missing', {_KEY}, {", ".join(_SUMS)} FROM user_analytics)
UNION ALL
(SELECT 'surplus', {_KEY}, {", ".join(_SUMS)} FROM user_analytics
 EXCEPT SELECT 'surplus', {_KEY}, {", ".join(_SUMS)} FROM whole)
""")

PRICES: TextClause = text("""
SELECT model, service_tier, token_kind, threshold, valid_from, price_per_million, version FROM model_prices
""")
