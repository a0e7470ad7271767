"""Whoever changes a row of user_analytics that is older than two days opens the day again, in the same transaction.

Days are closed three days after their end, not two: a transaction that had begun before they were closed, and by whose
clock the row was not old enough, would have to have lasted for a day. `services.analytics.closed_days` closes them.

Zones are not asked for where a day begins, but the days that are there: a zone whose name the server does not know any more
must not keep an end from being counted. A day begins less than two days before any of its quarters of an hour. All zones of the
user are locked in one order, so that two who change rows at once can not wait for each other.
"""

TRIGGERS = """
CREATE FUNCTION open_usage_days() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    earliest timestamptz := least(OLD.bucket, NEW.bucket) - interval '48 hours';
BEGIN
    PERFORM FROM usage_zones
    WHERE user_id IN (OLD.user_id, NEW.user_id) AND closed_until > earliest
    ORDER BY user_id, timezone FOR NO KEY UPDATE;
    IF FOUND THEN
        UPDATE usage_zones AS zone SET closed_until = coalesce((
            SELECT max(start) FROM usage_days AS day
            WHERE (day.user_id, day.timezone) = (zone.user_id, zone.timezone) AND start <= earliest), '-infinity')
        WHERE user_id IN (OLD.user_id, NEW.user_id) AND closed_until > earliest;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER late_insert AFTER INSERT ON user_analytics FOR EACH ROW
    WHEN (NEW.bucket < now() - interval '48 hours') EXECUTE FUNCTION open_usage_days();
CREATE TRIGGER late_update AFTER UPDATE ON user_analytics FOR EACH ROW
    WHEN (least(OLD.bucket, NEW.bucket) < now() - interval '48 hours') EXECUTE FUNCTION open_usage_days();
CREATE TRIGGER late_delete AFTER DELETE ON user_analytics FOR EACH ROW
    WHEN (OLD.bucket < now() - interval '48 hours') EXECUTE FUNCTION open_usage_days();

CREATE FUNCTION forget_usage_days() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    TRUNCATE usage_days, usage_zones;
    RETURN NULL;
END $$;
CREATE TRIGGER emptied AFTER TRUNCATE ON user_analytics FOR EACH STATEMENT EXECUTE FUNCTION forget_usage_days();
"""

DROP_TRIGGERS = """
DROP TRIGGER late_insert ON user_analytics;
DROP TRIGGER late_update ON user_analytics;
DROP TRIGGER late_delete ON user_analytics;
DROP TRIGGER emptied ON user_analytics;
DROP FUNCTION open_usage_days();
DROP FUNCTION forget_usage_days();
"""
