"""The tenth revision: a closed day is one row, with the sums that answers give, by engine, model and kind."""

_ME = "(SELECT nullif(current_setting('lekhika.user_id', true), '')::uuid)"

# What was closed is made anew; zones that are looked at stay.
_OPEN_ALL = """
DROP TABLE usage_days;
ALTER TABLE usage_zones NO FORCE ROW LEVEL SECURITY;
UPDATE usage_zones SET closed_until = '-infinity';
ALTER TABLE usage_zones FORCE ROW LEVEL SECURITY;
"""
_OF_ZONES = "FOREIGN KEY (user_id, timezone) REFERENCES usage_zones ON DELETE CASCADE"
_DAYS = f"""
CREATE TABLE usage_days (
    user_id   uuid,
    timezone  text,
    start     timestamptz,
    sums      json NOT NULL,
    engines   json NOT NULL,
    models    json NOT NULL,
    kinds     json NOT NULL,
    PRIMARY KEY (user_id, timezone, start),
    {_OF_ZONES}
);
COMMENT ON COLUMN usage_days.start IS 'date_trunc(''day'', bucket, timezone) of what is summed here: rows of user_analytics, and of usage_ledger';
COMMENT ON COLUMN usage_days.sums IS 'input_tokens, cached_tokens, output_tokens, thoughts_tokens, tool_tokens, total_tokens,'
    ' estimated_calls, unknown_calls, completed, stopped, failed';
COMMENT ON COLUMN usage_days.engines IS 'Of each: engine_id, engine_name, sums';
COMMENT ON COLUMN usage_days.models IS 'Of each: model, sums';
COMMENT ON COLUMN usage_days.kinds IS 'Of each: model_type, sums';
"""
_DAYS_OF_THE_NINTH = f"""
CREATE TABLE usage_days (
    user_id         uuid,
    timezone        text,
    start           timestamptz,
    analytics_type  text,
    engine_id       text,
    engine_name     text,
    model           text,
    model_type      text,
    input_tokens    bigint NOT NULL DEFAULT 0,
    cached_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    thoughts_tokens bigint NOT NULL DEFAULT 0,
    tool_tokens     bigint NOT NULL DEFAULT 0,
    total_tokens    bigint NOT NULL
        GENERATED ALWAYS AS (input_tokens + output_tokens + thoughts_tokens + tool_tokens) STORED,
    estimated_calls bigint NOT NULL DEFAULT 0,
    unknown_calls   bigint NOT NULL DEFAULT 0,
    completed       bigint NOT NULL DEFAULT 0,
    stopped         bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, timezone, start, analytics_type, engine_id, engine_name, model, model_type),
    {_OF_ZONES}
);
COMMENT ON COLUMN usage_days.start IS 'date_trunc(''day'', bucket, timezone) of the rows of user_analytics that are summed here';
"""
_ACCESS = f"""
GRANT SELECT ON usage_days TO lekhika_user;
GRANT SELECT, INSERT, DELETE ON usage_days TO lekhika_analytics;
ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON usage_days TO lekhika_user USING (user_id = {_ME}) WITH CHECK (user_id = {_ME});
CREATE POLICY all_rows ON usage_days TO lekhika_analytics USING (true) WITH CHECK (true);
"""

UP = (_OPEN_ALL, _DAYS, _ACCESS)
DOWN = (_OPEN_ALL, _DAYS_OF_THE_NINTH, _ACCESS)
