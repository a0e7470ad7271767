"""Who may do what with what is new. Users may ask for a zone of their own, and can not say what is closed in it.

Row security holds for the triggers as well: they act as whoever writes, and analytics, which alone does, sees every row.
"""

_ME = "(SELECT nullif(current_setting('lekhika.user_id', true), '')::uuid)"

_TO_ZONES = f"""
GRANT SELECT, INSERT (user_id, timezone), UPDATE (looked_at) ON usage_zones TO lekhika_user;
GRANT SELECT, UPDATE (closed_until), DELETE ON usage_zones TO lekhika_analytics;
GRANT SELECT (user_id), DELETE ON usage_zones TO lekhika_admin;
ALTER TABLE usage_zones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON usage_zones TO lekhika_user USING (user_id = {_ME}) WITH CHECK (user_id = {_ME});
CREATE POLICY all_rows ON usage_zones TO lekhika_analytics, lekhika_admin USING (true) WITH CHECK (true);
"""
TO_DAYS = f"""
GRANT SELECT ON usage_days TO lekhika_user;
GRANT SELECT, INSERT, DELETE ON usage_days TO lekhika_analytics;
ALTER TABLE usage_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON usage_days TO lekhika_user USING (user_id = {_ME}) WITH CHECK (user_id = {_ME});
CREATE POLICY all_rows ON usage_days TO lekhika_analytics USING (true) WITH CHECK (true);
"""
ACCESS = _TO_ZONES + TO_DAYS
