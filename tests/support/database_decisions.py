"""Who may do what in the database, as it was decided: tests compare the database with it."""

# Table privileges by role. In brackets the columns they are limited to; `*-a,b` is all columns but those.
GRANTS = {
    "alembic_version": {},
    "users": {
        "lekhika_user": "SELECT[*-anonymised_at]",
        "lekhika_auth": "SELECT[*-created_at]",
        "lekhika_analytics": "SELECT[id]",
        "lekhika_admin": "INSERT SELECT UPDATE",
    },
    "api_keys": {
        "lekhika_user": "INSERT SELECT[*-digest] UPDATE[name,expires_at,revoked_at]",
        "lekhika_auth": "SELECT UPDATE[last_used_at]",
        "lekhika_admin": "DELETE INSERT SELECT[*-digest] UPDATE[name,expires_at,revoked_at]",
    },
    "sessions": {
        "lekhika_auth": "DELETE INSERT SELECT UPDATE[expires_at]",
        "lekhika_admin": "DELETE SELECT[*-digest,csrf]",
    },
    "engines": {
        "lekhika_user": "DELETE INSERT SELECT UPDATE",
        "lekhika_admin": "DELETE INSERT SELECT UPDATE",
    },
    "engine_versions": {"lekhika_user": "INSERT SELECT", "lekhika_admin": "INSERT SELECT"},
    "engine_drafts": {"lekhika_user": "DELETE INSERT SELECT UPDATE"},
    "models": {
        "lekhika_user": "SELECT",
        "lekhika_analytics": "SELECT",
        "lekhika_admin": "DELETE INSERT SELECT UPDATE",
    },
    "model_prices": {"lekhika_analytics": "SELECT", "lekhika_admin": "DELETE INSERT SELECT"},
    "executions": {
        "lekhika_user": "SELECT UPDATE[kept]",
        "lekhika_projector": "DELETE INSERT SELECT UPDATE",
        "lekhika_admin": "SELECT UPDATE[kept]",
        "lekhika_janitor": "SELECT",
    },
    "projector_positions": {
        "lekhika_projector": "INSERT SELECT UPDATE",
        "lekhika_admin": "SELECT",
        "lekhika_janitor": "SELECT",
    },
    "usage_ledger": {
        "lekhika_user": "SELECT[*-cost,price_version]",
        "lekhika_analytics": "INSERT SELECT UPDATE[cost,price_version]",
        "lekhika_admin": "SELECT",
    },
    "user_analytics": {
        "lekhika_user": "SELECT[*-total_cost,unpriced_tokens]",
        "lekhika_analytics": "DELETE INSERT SELECT UPDATE",
        "lekhika_admin": "SELECT",
    },
    "usage_rejects": {"lekhika_analytics": "DELETE INSERT SELECT", "lekhika_admin": "SELECT"},
    "audit": {
        "lekhika_user": "INSERT",
        "lekhika_projector": "INSERT",
        "lekhika_admin": "INSERT SELECT",
    },
}
LIMITED_ROWS = {
    "users", "api_keys", "engines", "engine_versions", "engine_drafts", "executions", "usage_ledger",
    "user_analytics", "audit",
}  # fmt: skip
"""Tables of which the role that serves users gets one person's rows."""
ALL_ROWS = {
    "users": "auth admin analytics",
    "api_keys": "auth admin",
    "sessions": "auth admin",
    "engines": "admin",
    "engine_versions": "admin",
    "models": "admin user analytics",
    "model_prices": "admin analytics",
    "executions": "projector admin janitor",
    "projector_positions": "projector admin janitor",
    "usage_ledger": "admin analytics",
    "user_analytics": "admin analytics",
    "usage_rejects": "admin analytics",
    "audit": "admin projector",
}
"""Roles that are let through to every row, as far as their grants go."""
OWN_ROWS = {"users", "executions", "usage_ledger", "user_analytics", "engine_versions", "engine_drafts"}
OTHER_POLICIES = {
    ("engines", "own_or_shared"): ("SELECT", "own or shared"),
    ("engines", "insert_own"): ("INSERT", "own"),
    ("engines", "update_own"): ("UPDATE", "own"),
    ("engines", "delete_own"): ("DELETE", "own"),
    ("api_keys", "own_keys"): ("SELECT", "own"),
    ("api_keys", "insert_own"): ("INSERT", "own"),
    ("api_keys", "update_own"): ("UPDATE", "own"),
    ("audit", "own_acts"): ("INSERT", "own"),
}
"""Of the role that serves users: command and scope."""
WITHOUT_ROW_SECURITY = {"alembic_version"}
MEMBERSHIPS = {
    (role, "lekhika_gateway")
    for role in ("lekhika_user", "lekhika_auth", "lekhika_projector", "lekhika_admin")
}
