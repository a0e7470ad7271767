"""What was decided about the policies of the database, beside what `deploy.access` knows: tests compare with it."""

ALL_ROWS = {
    "users": "auth admin analytics",
    "api_keys": "auth admin",
    "sessions": "auth admin",
    "engines": "admin",
    "engine_versions": "admin",
    "engine_drafts": "admin",
    "user_passwords": "auth admin",
    "user_identities": "auth admin",
    "erasures": "admin janitor",
    "models": "admin user analytics",
    "model_prices": "admin analytics",
    "executions": "projector admin janitor",
    "projector_positions": "projector admin janitor",
    "usage_ledger": "admin analytics",
    "user_analytics": "admin analytics",
    "usage_zones": "analytics admin",
    "usage_days": "analytics",
    "usage_rejects": "admin analytics",
    "audit": "admin projector",
}
"""Roles that are let through to every row, as far as their grants go."""
OWN_ROWS = {
    "users", "executions", "usage_ledger", "user_analytics", "usage_zones", "usage_days", "engine_versions",
    "engine_drafts",
}  # fmt: skip
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
