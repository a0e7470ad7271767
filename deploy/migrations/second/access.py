"""Who may do what with what is new. A version is added and never changed; a draft is its author's alone."""

_ME = "(SELECT nullif(current_setting('lekhika.user_id', true), '')::uuid)"

ACCESS = f"""
GRANT SELECT, INSERT ON engine_versions TO lekhika_user, lekhika_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON engine_drafts TO lekhika_user;

ALTER TABLE engine_versions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON engine_versions TO lekhika_admin USING (true) WITH CHECK (true);
CREATE POLICY own_rows ON engine_versions TO lekhika_user
    USING (owner_id = {_ME}) WITH CHECK (owner_id = {_ME} AND created_by = {_ME});

ALTER TABLE engine_drafts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON engine_drafts TO lekhika_user USING (owner_id = {_ME}) WITH CHECK (owner_id = {_ME});

DROP POLICY update_own ON engines;
CREATE POLICY update_own ON engines FOR UPDATE TO lekhika_user
    USING (owner_id = {_ME}) WITH CHECK (owner_id = {_ME});
"""
"""Since this revision an author shares what is his himself. A new engine still begins unshared."""

ACCESS_BACK = f"""
DROP POLICY update_own ON engines;
CREATE POLICY update_own ON engines FOR UPDATE TO lekhika_user
    USING (owner_id = {_ME}) WITH CHECK (owner_id = {_ME} AND NOT shared);
"""
