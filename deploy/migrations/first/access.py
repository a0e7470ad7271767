"""Who may do what. Columns by role, rows by user; a role that is not named here can do nothing.

lekhika_user       serves one user, named by the setting `lekhika.user_id` of the transaction; never a cost
lekhika_auth       finds out who somebody is by key or session
lekhika_projector  keeps the read model
lekhika_admin      superadmins; appends to the audit and can not change it
lekhika_analytics  keeps ledger and rollups (login)
lekhika_janitor    reads what has ended (login)
"""

GRANTS = """
GRANT USAGE ON SCHEMA public TO lekhika_user, lekhika_auth, lekhika_projector, lekhika_admin,
    lekhika_analytics, lekhika_janitor;

GRANT SELECT (id, email, display_name, role, created_at) ON users TO lekhika_user;
GRANT SELECT (id, email, display_name, role, anonymised_at) ON users TO lekhika_auth;
GRANT SELECT (id) ON users TO lekhika_analytics;
GRANT SELECT, INSERT, UPDATE ON users TO lekhika_admin;

GRANT SELECT (id, user_id, prefix, name, scopes, created_at, expires_at, last_used_at, revoked_at),
    INSERT, UPDATE (name, revoked_at, expires_at) ON api_keys TO lekhika_user;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO lekhika_auth;
GRANT SELECT (id, user_id, prefix, name, scopes, created_at, expires_at, last_used_at, revoked_at),
    INSERT, UPDATE (name, revoked_at, expires_at), DELETE ON api_keys TO lekhika_admin;

GRANT SELECT, INSERT, UPDATE (expires_at), DELETE ON sessions TO lekhika_auth;
GRANT SELECT (id, user_id, created_at, expires_at), DELETE ON sessions TO lekhika_admin;

GRANT SELECT, INSERT, UPDATE, DELETE ON engines TO lekhika_user, lekhika_admin;

GRANT SELECT ON models TO lekhika_user, lekhika_analytics;
GRANT SELECT, INSERT, UPDATE, DELETE ON models TO lekhika_admin;
GRANT SELECT ON model_prices TO lekhika_analytics;
GRANT SELECT, INSERT, DELETE ON model_prices TO lekhika_admin;

GRANT SELECT, UPDATE (kept) ON executions TO lekhika_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON executions TO lekhika_projector;
GRANT SELECT, UPDATE (kept) ON executions TO lekhika_admin;
GRANT SELECT ON executions TO lekhika_janitor;

GRANT SELECT, INSERT, UPDATE ON projector_positions TO lekhika_projector;
GRANT SELECT ON projector_positions TO lekhika_admin, lekhika_janitor;

GRANT SELECT (execution_id, line, user_id, engine_id, engine_name, bucket, ended_at, event_id, outcome, kind,
    attempts, requested_at, started_at, model, model_type, certainty, long_context, calls, input_tokens,
    cached_tokens, output_tokens, thoughts_tokens, tool_tokens, total_tokens, counted_at)
    ON usage_ledger TO lekhika_user;
GRANT SELECT ON usage_ledger TO lekhika_admin;
GRANT SELECT, INSERT, UPDATE (cost, price_version) ON usage_ledger TO lekhika_analytics;

GRANT SELECT (user_id, analytics_type, bucket, date_hour, engine_id, engine_name, model, model_type, calls,
    estimated_calls, unknown_calls, input_tokens, cached_tokens, output_tokens, thoughts_tokens, tool_tokens,
    total_tokens, completed, stopped, failed, duration_ms)
    ON user_analytics TO lekhika_user;
GRANT SELECT ON user_analytics TO lekhika_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON user_analytics TO lekhika_analytics;

GRANT SELECT ON usage_rejects TO lekhika_admin;
GRANT SELECT, INSERT, DELETE ON usage_rejects TO lekhika_analytics;

GRANT INSERT ON audit TO lekhika_user, lekhika_projector;
GRANT SELECT, INSERT ON audit TO lekhika_admin;
"""

_ME = "(SELECT nullif(current_setting('lekhika.user_id', true), '')::uuid)"
"""The user of this transaction; without one, NULL, which equals no row. A sub-select runs once."""

_OWN_ROWS = {
    "users": "id",
    "executions": "user_id",
    "usage_ledger": "user_id",
    "user_analytics": "user_id",
}
_ALL_ROWS = {
    "users": ("lekhika_auth", "lekhika_admin", "lekhika_analytics"),
    "api_keys": ("lekhika_auth", "lekhika_admin"),
    "sessions": ("lekhika_auth", "lekhika_admin"),
    "engines": ("lekhika_admin",),
    "models": ("lekhika_admin", "lekhika_user", "lekhika_analytics"),
    "model_prices": ("lekhika_admin", "lekhika_analytics"),
    "executions": ("lekhika_projector", "lekhika_admin", "lekhika_janitor"),
    "projector_positions": ("lekhika_projector", "lekhika_admin", "lekhika_janitor"),
    "usage_ledger": ("lekhika_admin", "lekhika_analytics"),
    "user_analytics": ("lekhika_admin", "lekhika_analytics"),
    "usage_rejects": ("lekhika_admin", "lekhika_analytics"),
    "audit": ("lekhika_admin", "lekhika_projector"),
}


def _policies() -> str:
    """Policies let rows through; what may be done to them, the grants above say."""
    lines = []
    for table, roles in _ALL_ROWS.items():
        to = ", ".join(roles)
        lines.append(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;")
        lines.append(f"CREATE POLICY all_rows ON {table} TO {to} USING (true) WITH CHECK (true);")
    for table, column in _OWN_ROWS.items():
        own = f"{column} = {_ME}"
        lines.append(f"CREATE POLICY own_rows ON {table} TO lekhika_user USING ({own}) WITH CHECK ({own});")
    return "\n".join(lines)


# Only an admin shares an engine: what a user writes is his own and unshared. A revoked key stays revoked.
POLICIES = (
    _policies()
    + f"""
CREATE POLICY own_or_shared ON engines FOR SELECT TO lekhika_user USING (owner_id = {_ME} OR shared);
CREATE POLICY insert_own ON engines FOR INSERT TO lekhika_user WITH CHECK (owner_id = {_ME} AND NOT shared);
CREATE POLICY update_own ON engines FOR UPDATE TO lekhika_user
    USING (owner_id = {_ME}) WITH CHECK (owner_id = {_ME} AND NOT shared);
CREATE POLICY delete_own ON engines FOR DELETE TO lekhika_user USING (owner_id = {_ME});
CREATE POLICY own_keys ON api_keys FOR SELECT TO lekhika_user USING (user_id = {_ME});
CREATE POLICY insert_own ON api_keys FOR INSERT TO lekhika_user WITH CHECK (user_id = {_ME});
CREATE POLICY update_own ON api_keys FOR UPDATE TO lekhika_user
    USING (user_id = {_ME} AND revoked_at IS NULL) WITH CHECK (user_id = {_ME});
CREATE POLICY own_acts ON audit FOR INSERT TO lekhika_user WITH CHECK (actor = {_ME}::text);
"""
)
