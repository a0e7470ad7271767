"""Zones in which long ranges of usage were looked at, and the days of each that are summed."""

_ZONES = """
CREATE TABLE usage_zones (
    user_id      uuid REFERENCES users,
    timezone     text,
    closed_until timestamptz NOT NULL DEFAULT '-infinity',
    looked_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, timezone)
);
COMMENT ON COLUMN usage_zones.closed_until IS
    'A midnight of the zone: what belongs to days before it is in usage_days, exactly. What is there of later days is not valid';
COMMENT ON COLUMN usage_zones.looked_at IS 'To the day: a zone that nobody looks at is deleted';
"""
DAYS = """
CREATE TABLE usage_days (
    user_id         uuid,
    timezone        text,
    start           timestamptz,
    analytics_type  text,
    engine_id       text,
    engine_name     text,
    model           text,
    model_type      text,
    estimated_calls bigint NOT NULL DEFAULT 0,
    unknown_calls   bigint NOT NULL DEFAULT 0,
    input_tokens    bigint NOT NULL DEFAULT 0,
    cached_tokens   bigint NOT NULL DEFAULT 0,
    output_tokens   bigint NOT NULL DEFAULT 0,
    thoughts_tokens bigint NOT NULL DEFAULT 0,
    tool_tokens     bigint NOT NULL DEFAULT 0,
    total_tokens    bigint NOT NULL
        GENERATED ALWAYS AS (input_tokens + output_tokens + thoughts_tokens + tool_tokens) STORED,
    completed       bigint NOT NULL DEFAULT 0,
    stopped         bigint NOT NULL DEFAULT 0,
    failed          bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, timezone, start, analytics_type, engine_id, engine_name, model, model_type),
    FOREIGN KEY (user_id, timezone) REFERENCES usage_zones ON DELETE CASCADE
);
COMMENT ON COLUMN usage_days.start IS 'date_trunc(''day'', bucket, timezone) of the rows of user_analytics that are summed here';
"""
TABLES = _ZONES + DAYS

DROP = "DROP TABLE usage_days, usage_zones;"
