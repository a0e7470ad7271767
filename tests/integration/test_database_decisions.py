"""Every table, grant, policy and role of the database is one that somebody decided on; a new one fails here."""

from collections.abc import Sequence

import psycopg

from shared import tables
from tests.support.database_decisions import (
    ALL_ROWS,
    GRANTS,
    LIMITED_ROWS,
    MEMBERSHIPS,
    OTHER_POLICIES,
    OWN_ROWS,
    WITHOUT_ROW_SECURITY,
)
from tests.support.gateway import Database

ACL = """
SELECT relname, coalesce(rolname, 'PUBLIC') AS grantee, privilege_type, NULL AS attname
FROM pg_class CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p') AND grantee <> relowner
UNION ALL
SELECT relname, coalesce(rolname, 'PUBLIC'), privilege_type, attname
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid CROSS JOIN aclexplode(attacl)
    LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE relnamespace = 'public'::regnamespace
"""


def _columns(given: str, table: str) -> frozenset[str]:
    every = {column.name for column in tables.metadata.tables[table].columns}
    if given.startswith("*-"):
        left_out = set(given[2:].split(","))
        assert left_out <= every, f"{table} has no {left_out - every}"
        return frozenset(every - left_out)
    return frozenset(given.split(","))


def _decided(table: str, words: str) -> set[tuple[str, frozenset[str] | None]]:
    found: set[tuple[str, frozenset[str] | None]] = set()
    for word in words.split():
        privilege, bracket, limited = word.rstrip("]").partition("[")
        found.add((privilege, _columns(limited, table) if bracket else None))
    return found


def test_every_grant_was_decided_on(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        rows = connection.execute(ACL).fetchall()
        existing = {
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        }
    whole: dict[tuple[str, str], set[tuple[str, frozenset[str] | None]]] = {}
    columns: dict[tuple[str, str, str], set[str]] = {}
    for table, role, privilege, column in rows:
        if column is None:
            whole.setdefault((table, role), set()).add((privilege, None))
        else:
            columns.setdefault((table, role, privilege), set()).add(column)
    for (table, role, privilege), names in columns.items():
        whole.setdefault((table, role), set()).add((privilege, frozenset(names)))
    decided = {
        (table, role): _decided(table, words)
        for table, roles in GRANTS.items()
        for role, words in roles.items()
    }
    assert existing == set(GRANTS)
    assert whole == decided


def test_row_security_is_forced_on_every_table(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        flags = connection.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
        for_users = connection.execute(
            "SELECT tablename, qual, with_check FROM pg_policies WHERE 'lekhika_user' = ANY (roles)"
        ).fetchall()
    assert {name for name, forced in flags if not forced} == WITHOUT_ROW_SECURITY
    about_one = {
        table
        for table, *terms in for_users
        if all(term is None or "lekhika.user_id" in term for term in terms)
    }
    assert about_one == LIMITED_ROWS
    assert {table for table, *_ in for_users} - about_one == {"models"}


def test_every_policy_was_decided_on(database: Database) -> None:
    """By table and name: for which commands and roles it is, and whether it is about all rows or only one's own."""
    with psycopg.connect(database.server.url) as connection:
        rows = connection.execute(
            "SELECT tablename, policyname, permissive, cmd, roles::text[], qual, with_check FROM pg_policies"
        ).fetchall()
    assert {permissive for _, _, permissive, *_ in rows} == {"PERMISSIVE"}
    found = {
        (table, name): (command, frozenset(role.removeprefix("lekhika_") for role in roles), _scope(terms))
        for table, name, _, command, roles, *terms in rows
    }
    assert found == {
        **{
            (table, "all_rows"): ("ALL", frozenset(roles.split()), "all") for table, roles in ALL_ROWS.items()
        },
        **{(table, "own_rows"): ("ALL", frozenset({"user"}), "own") for table in OWN_ROWS},
        **{key: (command, frozenset({"user"}), scope) for key, (command, scope) in OTHER_POLICIES.items()},
    }


def _scope(terms: Sequence[str | None]) -> str:
    given = [term for term in terms if term is not None]
    if all(term == "true" for term in given):
        return "all"
    assert all("lekhika.user_id" in term for term in given)
    return "own or shared" if any(" OR shared" in term for term in given) else "own"


def test_nothing_but_tables_is_there_to_be_read(database: Database) -> None:
    """A view or a function runs with its owner's rights unless it says otherwise: each needs a decision."""
    with psycopg.connect(database.server.url) as connection:
        others = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind NOT IN ('r', 'i', 'S')"
            " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        ).fetchall()
        sequences = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'S' AND relacl IS NOT NULL"
        ).fetchall()
    assert others == []
    assert sequences == []


def test_only_the_services_may_connect_and_nobody_gets_anything_by_default(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        on_database = connection.execute(
            "SELECT coalesce(rolname, 'PUBLIC'), privilege_type FROM pg_database CROSS JOIN aclexplode(datacl)"
            " LEFT JOIN pg_roles ON pg_roles.oid = grantee"
            " WHERE datname = current_database() AND grantee <> datdba"
        ).fetchall()
        on_schema = connection.execute(
            "SELECT coalesce(rolname, 'PUBLIC'), privilege_type FROM pg_namespace CROSS JOIN aclexplode(nspacl)"
            " LEFT JOIN pg_roles ON pg_roles.oid = grantee WHERE nspname = 'public' AND grantee <> nspowner"
        ).fetchall()
        by_default = connection.execute(
            "SELECT 1 FROM pg_default_acl CROSS JOIN aclexplode(defaclacl) WHERE grantee <> defaclrole"
        ).fetchall()
    assert set(on_database) == {
        (f"lekhika_{login}", "CONNECT") for login in ("gateway", "analytics", "janitor")
    }
    working = ("user", "auth", "projector", "admin", "analytics", "janitor")
    assert set(on_schema) == {(f"lekhika_{role}", "USAGE") for role in working}
    assert by_default == []


def test_no_column_about_money_can_be_read_by_the_role_that_serves_users(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        columns = connection.execute(
            "SELECT relname, attname, has_column_privilege('lekhika_user', pg_class.oid, attname, 'SELECT')"
            " FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')"
            " AND attname ~ '(cost|price|amount|currency|unpriced)'"
        ).fetchall()
    assert {table for table, *_ in columns} >= {"usage_ledger", "user_analytics", "model_prices"}
    assert [(table, column) for table, column, readable in columns if readable] == []


def test_roles_can_do_no_more_than_they_are_granted(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        powers = connection.execute(
            "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'lekhika%'"
            " AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls OR rolinherit OR rolreplication)"
        ).fetchall()
        members = connection.execute(
            "SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members"
            " WHERE pg_get_userbyid(member) LIKE 'lekhika%' OR pg_get_userbyid(roleid) LIKE 'lekhika%'"
        ).fetchall()
        may_create = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'lekhika%'"
            " AND has_schema_privilege(rolname, 'public', 'CREATE')"
        ).fetchall()
    logins = {"lekhika_gateway", "lekhika_analytics", "lekhika_janitor"}
    assert dict(powers) == {
        **dict.fromkeys(logins, True),
        **dict.fromkeys(("lekhika_user", "lekhika_auth", "lekhika_projector", "lekhika_admin"), False),
    }
    assert set(members) == MEMBERSHIPS
    assert may_create == []
