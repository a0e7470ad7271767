"""The login that migrates a local database: it owns it, and is no superuser."""

from __future__ import annotations

import psycopg
from psycopg import sql

from deploy.migrations.passwords import encrypted

OWNER = "lekhika_owner"

_TABLES = """
SELECT format('ALTER %s public.%I OWNER TO {owner}',
    CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, relname)
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND relowner <> '{owner}'::regrole
"""
_FUNCTIONS = """
SELECT format('ALTER FUNCTION %s OWNER TO {owner}', oid::regprocedure)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner <> '{owner}'::regrole
"""
_ROLES = """
SELECT format('GRANT %I TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', rolname)
FROM pg_roles WHERE rolname LIKE 'lekhika\\_%' AND rolname <> '{owner}'
"""


def give_to_owner(superuser_url: str, password: str) -> None:
    """Makes the database and all in it the owner's, also those of a release that migrated as the superuser."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        _make_owner(connection, password)
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(OWNER)))
        for query in (_TABLES, _FUNCTIONS, _ROLES):
            for (statement,) in connection.execute(query.format(owner=OWNER).encode()).fetchall():
                connection.execute(statement.encode())


def _make_owner(connection: psycopg.Connection[tuple[object, ...]], password: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone()
    words = "ALTER" if known else "CREATE"
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS NOCREATEDB PASSWORD {}").format(
            sql.SQL(words), sql.Identifier(OWNER), encrypted(connection, OWNER, password)
        )
    )
