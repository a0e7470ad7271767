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


# All time zones in use are whole quarters of an hour off UTC: these sum to anybody's hours and days.
_BUCKET = "date_bin('15 minutes', ended_at, '2000-01-01Z')"
_OF_FACT = ", ".join(name for name in _FACT if name != "execution_id")

# A mark that is new decides that its facts are new; only what is new is summed. All marks are in before the first sum is
# added, and both in the order of their keys: whoever counts at the same time waits, but never in a circle.
COUNT: TextClause = text(f"""
WITH marks AS (
    INSERT INTO usage_ledger (line, bucket, {", ".join(_MARK)})
    SELECT 0, {_BUCKET}, {", ".join(_MARK)} FROM {_given(_MARK, "marks")} ORDER BY execution_id
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

_RANGE = "bucket >= :start AND bucket < :end"
_LEDGER_RANGE = f"(SELECT * FROM usage_ledger WHERE {_RANGE}) AS lines"

# Whoever counts waits for the end of the transaction; whoever reads does not. Both tables are written by one
# statement, which locks them before it begins: so this one lock is enough for both.
LOCK_ROLLUPS: TextClause = text("LOCK TABLE user_analytics IN SHARE ROW EXCLUSIVE MODE")

NEXT_BUCKET: TextClause = text("""
SELECT min(bucket) FROM (
    (SELECT bucket FROM usage_ledger WHERE bucket >= coalesce(CAST(:start AS timestamptz), '-infinity')
     ORDER BY bucket LIMIT 1)
    UNION ALL
    (SELECT bucket FROM user_analytics WHERE bucket >= coalesce(CAST(:start AS timestamptz), '-infinity')
     ORDER BY bucket LIMIT 1)
) AS firsts WHERE bucket < coalesce(CAST(:end AS timestamptz), 'infinity')
""")

# The rollups of a range as the ledger has them; what is right already is not touched.
REBUILD: TextClause = text(f"""
WITH whole AS MATERIALIZED ({rollup_of(_LEDGER_RANGE)}
), gone AS (
    DELETE FROM user_analytics AS old WHERE {_RANGE} AND ({_KEY}) NOT IN (SELECT {_KEY} FROM whole)
    RETURNING 1
), put AS (
    INSERT INTO user_analytics AS old ({_KEY}, {", ".join(_SUMS)})
    SELECT {_KEY}, {", ".join(_SUMS)} FROM whole ORDER BY {_KEY}
    ON CONFLICT ({_KEY}) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _SUMS)}
    WHERE ({", ".join(f"old.{name}" for name in _SUMS)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _SUMS)})
    RETURNING 1
)
SELECT (SELECT count(*) FROM whole) AS whole, (SELECT count(*) FROM put) AS put,
    (SELECT count(*) FROM gone) AS gone
""")

USED_IN_RANGE: TextClause = text(f"""
SELECT execution_id::text AS execution_id, line, model, model_type, certainty, long_context, calls, ended_at,
    input_tokens, cached_tokens, output_tokens, thoughts_tokens, tool_tokens, cost, price_version
FROM usage_ledger WHERE {_RANGE} AND line > 0
    AND (CAST(:model AS text) IS NULL OR model = CAST(:model AS text)
        OR starts_with(model, CAST(:model AS text) || '-'))
""")

SET_COSTS: TextClause = text("""
UPDATE usage_ledger AS old SET cost = given.cost, price_version = given.price_version
FROM json_to_recordset(CAST(:costs AS json))
    AS given (execution_id uuid, line smallint, cost numeric, price_version bigint)
WHERE old.execution_id = given.execution_id AND old.line = given.line
""")

# Of ids that somebody wants to import: which are those of executions here, and which were imported before.
KNOWN_IDS: TextClause = text("""
SELECT id::text AS id, false AS imported FROM executions WHERE id = ANY(CAST(:ids AS uuid[]))
UNION ALL
SELECT execution_id::text, starts_with(event_id, 'import:') FROM usage_ledger
WHERE line = 0 AND execution_id = ANY(CAST(:ids AS uuid[]))
""")
KNOWN_USERS: TextClause = text("SELECT id::text AS id FROM users WHERE id = ANY(CAST(:ids AS uuid[]))")
TIERS: TextClause = text("SELECT name, tier FROM models")

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
