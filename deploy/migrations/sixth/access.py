"""Who may do what with what is new. An erasure is asked for and never taken back; the janitor works it off."""

ACCESS = """
GRANT SELECT, INSERT ON erasures TO lekhika_admin;
GRANT SELECT ON erasures TO lekhika_janitor;
GRANT SELECT (owner_id, id), DELETE ON engine_drafts TO lekhika_admin;

ALTER TABLE erasures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON erasures TO lekhika_admin, lekhika_janitor USING (true) WITH CHECK (true);
CREATE POLICY all_rows ON engine_drafts TO lekhika_admin USING (true) WITH CHECK (true);
"""

ACCESS_BACK = """
DROP POLICY all_rows ON engine_drafts;
REVOKE SELECT (owner_id, id), DELETE ON engine_drafts FROM lekhika_admin;
"""
