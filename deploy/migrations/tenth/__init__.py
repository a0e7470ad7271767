"""The tenth revision: a closed day is one row, with the sums that answers give, by engine, model and kind."""

from deploy.migrations.ninth.access import TO_DAYS
from deploy.migrations.ninth.tables import DAYS as DAYS_OF_THE_NINTH

# What was closed is made anew; zones that are looked at stay.
_OPEN_ALL = """
DROP TABLE usage_days;
ALTER TABLE usage_zones NO FORCE ROW LEVEL SECURITY;
UPDATE usage_zones SET closed_until = '-infinity';
ALTER TABLE usage_zones FORCE ROW LEVEL SECURITY;
"""
_DAYS = """
CREATE TABLE usage_days (
    user_id   uuid,
    timezone  text,
    start     timestamptz,
    sums      json NOT NULL,
    engines   json NOT NULL,
    models    json NOT NULL,
    kinds     json NOT NULL,
    PRIMARY KEY (user_id, timezone, start),
    FOREIGN KEY (user_id, timezone) REFERENCES usage_zones ON DELETE CASCADE
);
COMMENT ON COLUMN usage_days.start IS 'date_trunc(''day'', bucket, timezone) of what is summed here: rows of user_analytics, and of usage_ledger';
COMMENT ON COLUMN usage_days.sums IS 'input_tokens, cached_tokens, output_tokens, thoughts_tokens, tool_tokens, total_tokens,'
    ' estimated_calls, unknown_calls, completed, stopped, failed';
COMMENT ON COLUMN usage_days.engines IS 'Of each: engine_id, engine_name, sums';
COMMENT ON COLUMN usage_days.models IS 'Of each: model, sums';
COMMENT ON COLUMN usage_days.kinds IS 'Of each: model_type, sums';
"""

UP = (_OPEN_ALL, _DAYS, TO_DAYS)
DOWN = (_OPEN_ALL, DAYS_OF_THE_NINTH, TO_DAYS)
