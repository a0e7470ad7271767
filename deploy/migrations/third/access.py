"""Who may do what with what is new.

Whoever finds out who somebody is may create a person that an identity provider vouches for, always with the role
user: the column `role` can not be given. An admin sets passwords and can not read them.
"""

ACCESS = """
GRANT SELECT (disabled_at), INSERT (id, email, display_name) ON users TO lekhika_auth;

GRANT SELECT, INSERT, UPDATE (digest, changed_at) ON user_passwords TO lekhika_auth;
GRANT SELECT (user_id, changed_at), INSERT, UPDATE (digest, changed_at), DELETE ON user_passwords TO lekhika_admin;

GRANT SELECT, INSERT ON user_identities TO lekhika_auth;
GRANT SELECT, DELETE ON user_identities TO lekhika_admin;

ALTER TABLE user_passwords ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON user_passwords TO lekhika_auth, lekhika_admin USING (true) WITH CHECK (true);
ALTER TABLE user_identities ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON user_identities TO lekhika_auth, lekhika_admin USING (true) WITH CHECK (true);
"""
