"""The fifth revision: means over the executions that were started, and what rebuilding and importing need."""

UP = (
    """
ALTER TABLE user_analytics NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_ledger NO FORCE ROW LEVEL SECURITY;

ALTER TABLE user_analytics ADD COLUMN started bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN user_analytics.started IS 'Executions that were started before they ended; duration_ms is theirs';

UPDATE user_analytics AS old SET started = marks.started
FROM (
    SELECT user_id, bucket, engine_id, engine_name, count(started_at) AS started
    FROM usage_ledger WHERE line = 0 GROUP BY user_id, bucket, engine_id, engine_name
) AS marks
WHERE old.analytics_type = 'execution' AND (old.user_id, old.bucket, old.engine_id, old.engine_name)
    = (marks.user_id, marks.bucket, marks.engine_id, marks.engine_name);

ALTER TABLE user_analytics FORCE ROW LEVEL SECURITY;
ALTER TABLE usage_ledger FORCE ROW LEVEL SECURITY;

CREATE INDEX user_analytics_bucket ON user_analytics (bucket);

GRANT SELECT (started) ON user_analytics TO lekhika_user;
GRANT SELECT (id) ON executions TO lekhika_analytics;
CREATE POLICY ids_for_analytics ON executions FOR SELECT TO lekhika_analytics USING (true);
""",
)
"""An import of old executions asks which ids are those of real ones."""

DOWN = (
    """
DROP POLICY ids_for_analytics ON executions;
REVOKE SELECT (id) ON executions FROM lekhika_analytics;
DROP INDEX user_analytics_bucket;
ALTER TABLE user_analytics DROP COLUMN started;
""",
)
