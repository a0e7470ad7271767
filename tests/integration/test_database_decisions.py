"""Every table, grant, policy and role of the database is one that somebody decided on; a new one fails here."""

from collections.abc import Sequence

import psycopg

from deploy import access
from deploy.access import GRANTS, LIMITED_ROWS, LOGINS, MEMBERSHIPS, OPEN_ROWS, WITHOUT_ROW_SECURITY
from deploy.local.database_owner import OWNER
from tests.support.database_decisions import ALL_ROWS, OTHER_POLICIES, OWN_ROWS
from tests.support.gateway import Database


def test_every_grant_was_decided_on(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        assert access.tables_of(connection) == set(GRANTS)
        assert access.granted(connection) == access.decided()


def test_row_security_is_forced_on_every_table(database: Database) -> None:
    with psycopg.connect(database.server.url) as connection:
        assert access.without_forced_row_security(connection) == WITHOUT_ROW_SECURITY
        assert access.user_policies(connection) == (LIMITED_ROWS, set(OPEN_ROWS))


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
        ("executions", "ids_for_analytics"): ("SELECT", frozenset({"analytics"}), "all"),
        ("audit", "operator_acts"): ("INSERT", frozenset({"analytics"}), "operator"),
        **{(table, "own_rows"): ("ALL", frozenset({"user"}), "own") for table in OWN_ROWS},
        **{key: (command, frozenset({"user"}), scope) for key, (command, scope) in OTHER_POLICIES.items()},
    }


def _scope(terms: Sequence[str | None]) -> str:
    given = [term for term in terms if term is not None]
    if all(term == "true" for term in given):
        return "all"
    if given == ["(actor = 'operator'::text)"]:
        return "operator"
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
    # Triggers: one keeps the audit as it was written, the others keep closed days true, as whoever writes.
    assert {name for (name,) in others} == {"refuse_change", "open_usage_days", "forget_usage_days"}
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
            " WHERE (pg_get_userbyid(member) LIKE 'lekhika%' OR pg_get_userbyid(roleid) LIKE 'lekhika%')"
            " AND (inherit_option OR set_option)"
        ).fetchall()
        may_create = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'lekhika%'"
            " AND has_schema_privilege(rolname, 'public', 'CREATE')"
        ).fetchall()
    assert dict(powers) == {
        **dict.fromkeys(LOGINS, True),
        **dict.fromkeys(("lekhika_user", "lekhika_auth", "lekhika_projector", "lekhika_admin"), False),
    }
    assert set(members) == MEMBERSHIPS
    assert may_create == [(OWNER,)]
