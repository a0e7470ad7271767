"""Who may do what in the database, as it was decided: the tests and `lekhika admin check` compare the database with it."""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from shared import tables

Privilege = tuple[str, frozenset[str] | None]
"""Its name, and the columns that it is limited to."""
Grants = Mapping[tuple[str, str], set[Privilege]]
"""By table and role."""

# Table privileges by role. In brackets the columns they are limited to; `*-a,b` is all columns but those.
GRANTS: Mapping[str, Mapping[str, str]] = {
    "alembic_version": {},
    "users": {
        "lekhika_user": "SELECT[*-anonymised_at,disabled_at]",
        "lekhika_auth": "INSERT[id,email,display_name] SELECT[*-created_at]",
        "lekhika_analytics": "SELECT[id]",
        "lekhika_admin": "INSERT SELECT UPDATE",
    },
    "user_passwords": {
        "lekhika_auth": "INSERT SELECT UPDATE[digest,changed_at]",
        "lekhika_admin": "DELETE INSERT SELECT[*-digest] UPDATE[digest,changed_at]",
    },
    "user_identities": {"lekhika_auth": "INSERT SELECT", "lekhika_admin": "DELETE SELECT"},
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
    "engine_drafts": {
        "lekhika_user": "DELETE INSERT SELECT UPDATE",
        "lekhika_admin": "DELETE SELECT[owner_id,id]",
    },
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
        "lekhika_analytics": "SELECT[id]",
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
    "usage_zones": {
        "lekhika_user": "INSERT[user_id,timezone] SELECT UPDATE[looked_at]",
        "lekhika_analytics": "DELETE SELECT UPDATE[closed_until]",
        "lekhika_admin": "DELETE SELECT[user_id]",
    },
    "usage_days": {"lekhika_user": "SELECT", "lekhika_analytics": "DELETE INSERT SELECT"},
    "usage_rejects": {"lekhika_analytics": "DELETE INSERT SELECT", "lekhika_admin": "SELECT"},
    "audit": {
        "lekhika_user": "INSERT",
        "lekhika_projector": "INSERT",
        "lekhika_admin": "INSERT SELECT",
        "lekhika_analytics": "INSERT",
    },
    "erasures": {"lekhika_admin": "INSERT SELECT", "lekhika_janitor": "SELECT"},
}
LIMITED_ROWS = {
    "users", "api_keys", "engines", "engine_versions", "engine_drafts", "executions", "usage_ledger",
    "user_analytics", "usage_zones", "usage_days", "audit",
}  # fmt: skip
"""Tables of which the role that serves users gets one person's rows."""
OPEN_ROWS = frozenset({"models"})
"""Tables of which it gets all rows."""
WITHOUT_ROW_SECURITY = {"alembic_version"}
LOGINS = frozenset({"lekhika_gateway", "lekhika_analytics", "lekhika_janitor"})
MEMBERSHIPS = {
    (role, "lekhika_gateway")
    for role in ("lekhika_user", "lekhika_auth", "lekhika_projector", "lekhika_admin")
}

_ACL = """
SELECT relname, coalesce(rolname, 'PUBLIC') AS grantee, privilege_type, NULL AS attname
FROM pg_class CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') AND grantee <> relowner
UNION ALL
SELECT relname, coalesce(rolname, 'PUBLIC'), privilege_type, attname
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid CROSS JOIN aclexplode(attacl)
    LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE relnamespace = 'public'::regnamespace
"""
_USER_POLICIES = "SELECT tablename, qual, with_check FROM pg_policies WHERE 'lekhika_user' = ANY (roles)"


def tables_of(connection: psycopg.Connection[Any]) -> set[str]:
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in rows}


def granted(connection: psycopg.Connection[Any]) -> Grants:
    """What the database grants."""
    whole: dict[tuple[str, str], set[Privilege]] = {}
    columns: dict[tuple[str, str, str], set[str]] = {}
    for table, role, privilege, column in connection.execute(_ACL):
        if column is None:
            whole.setdefault((table, role), set()).add((privilege, None))
        else:
            columns.setdefault((table, role, privilege), set()).add(column)
    for (table, role, privilege), names in columns.items():
        whole.setdefault((table, role), set()).add((privilege, frozenset(names)))
    return whole


def decided() -> Grants:
    """What it should grant."""
    return {
        (table, role): _privileges(table, words)
        for table, roles in GRANTS.items()
        for role, words in roles.items()
    }


def without_forced_row_security(connection: psycopg.Connection[Any]) -> set[str]:
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND NOT (relrowsecurity AND relforcerowsecurity)"
    )
    return {name for (name,) in rows}


def user_policies(connection: psycopg.Connection[Any]) -> tuple[set[str], set[str]]:
    """Tables of which the role that serves users gets one person's rows, and those of which it gets all."""
    rows = connection.execute(_USER_POLICIES).fetchall()
    about_all = {table for table, *terms in rows if not _about_one(terms)}
    return {table for table, *_ in rows} - about_all, about_all


def _about_one(terms: Iterable[str | None]) -> bool:
    return all(term is None or "lekhika.user_id" in term for term in terms)


def _columns(given: str, table: str) -> frozenset[str]:
    every = {column.name for column in tables.metadata.tables[table].columns}
    if given.startswith("*-"):
        left_out = set(given[2:].split(","))
        if not left_out <= every:
            raise ValueError(f"{table} has no {left_out - every}")
        return frozenset(every - left_out)
    return frozenset(given.split(","))


def _privileges(table: str, words: str) -> set[Privilege]:
    found: set[Privilege] = set()
    for word in words.split():
        privilege, bracket, limited = word.rstrip("]").partition("[")
        found.add((privilege, _columns(limited, table) if bracket else None))
    return found
