"""Whether the database is as it must be: sums, keys, grants and policies. `lekhika admin check` shows it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import psycopg
from sqlalchemy import ForeignKeyConstraint

from deploy import access
from services.analytics.closed_days import DAY_DIFFERENCES
from services.analytics.statements import DIFFERENCES
from shared import tables
from shared.errors import Permanent, Unavailable

SEES_ALL = "lekhika_analytics"
_SHOWN = 5
"""Faults that are told of one check."""

_WHO = """
SELECT current_user, rolsuper OR rolbypassrls OR current_user = 'lekhika_analytics'
FROM pg_roles WHERE rolname = current_user
"""
_POWERS = """
SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'lekhika_') AND (rolsuper OR rolcreaterole OR rolcreatedb
    OR rolbypassrls OR rolinherit OR rolreplication OR has_schema_privilege(rolname, 'public', 'CREATE')
    OR rolcanlogin <> (rolname = ANY(%(logins)s)))
    AND (rolname = ANY(%(logins)s) OR oid <> (SELECT datdba FROM pg_database WHERE datname = current_database()))
"""
"""But for whoever owns the database, who migrates it."""
_MEMBERS = """
SELECT pg_get_userbyid(roleid), pg_get_userbyid(member) FROM pg_auth_members
WHERE starts_with(pg_get_userbyid(member), 'lekhika_') AND starts_with(pg_get_userbyid(roleid), 'lekhika_')
    AND (inherit_option OR set_option)
"""
"""Whoever made a role may grant it, which alone gives him none of its rights."""
_KEYS = """
SELECT relname, contype::text, ARRAY(
    SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS key (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = number ORDER BY place)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'f', 'u') AND convalidated
"""
_LEDGER = {
    "lines without the mark of their execution": """
        SELECT count(*) FROM usage_ledger AS fact WHERE line > 0 AND NOT EXISTS (
            SELECT FROM usage_ledger AS mark WHERE mark.execution_id = fact.execution_id AND mark.line = 0
                AND (mark.user_id, mark.bucket, mark.engine_id) = (fact.user_id, fact.bucket, fact.engine_id))""",
    "rows of tokens without tokens": """
        SELECT count(*) FROM user_analytics WHERE analytics_type = 'token_usage' AND total_tokens = 0""",
    "rows without an engine or its name": """
        SELECT count(*) FROM user_analytics WHERE '' IN (engine_id, engine_name)""",
    "tokens with a negative count": """
        SELECT count(*) FROM usage_ledger
        WHERE least(input_tokens, cached_tokens, output_tokens, thoughts_tokens, tool_tokens) < 0
            OR cached_tokens > input_tokens""",
    "ends that were set aside (table usage_rejects says why)": "SELECT count(*) FROM usage_rejects",
}


@dataclass(frozen=True, slots=True)
class Check:
    """`detail` says what was looked at, or what is wrong."""

    name: str
    ok: bool
    detail: str


Find = Callable[[psycopg.Connection[Any]], Iterable[str]]


def run_checks(database_url: str) -> list[Check]:
    """Raises: Unavailable; Permanent, for a login that would not see every row."""
    try:
        with psycopg.connect(database_url, connect_timeout=10) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            _require_sight(connection)
            return [_check(connection, *one) for one in _CHECKS]
    except psycopg.OperationalError as error:
        raise Unavailable(f"the database does not answer: {str(error).splitlines()[0]}") from None


def _require_sight(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(_WHO).fetchone()
    if row is None or not row[1]:
        raise Permanent(f"log in as {SEES_ALL}: {row[0] if row else 'nobody'} would not see every row")


def _check(connection: psycopg.Connection[Any], name: str, proves: str, find: Find) -> Check:
    try:
        faults = list(find(connection))
    except (psycopg.ProgrammingError, psycopg.DataError) as error:  # data: a zone that the server has no more
        connection.rollback()
        faults = [str(error).splitlines()[0]]
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return Check(name, not faults, "; ".join(faults[:_SHOWN]) + more if faults else proves)


def _sums(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for what, user, kind, bucket, engine, _, model, *_ in connection.execute(DIFFERENCES.text.encode()):
        of_model = f", {model}" if model else ""
        yield f"{what}: {kind} of {user} at {bucket.astimezone(UTC):%Y-%m-%dT%H:%MZ}, {engine}{of_model}"


def _days(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for what, user, timezone, start in connection.execute(DAY_DIFFERENCES.text.encode()):
        yield f"{what}: the day of {user} from {start.astimezone(UTC):%Y-%m-%dT%H:%MZ} in {timezone}"


def _ledger(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for what, query in _LEDGER.items():
        row = connection.execute(query.encode()).fetchone()
        if row is None or row[0]:
            yield f"{row[0] if row else '?'} {what}"


def _keys(connection: psycopg.Connection[Any]) -> Iterator[str]:
    found = {(table, kind, tuple(columns)) for table, kind, columns in connection.execute(_KEYS)}
    for table in tables.metadata.sorted_tables:
        primary = ("p", tuple(column.name for column in table.primary_key.columns))
        foreign = [
            ("f", tuple(one.column_keys))
            for one in table.constraints
            if isinstance(one, ForeignKeyConstraint)
        ]
        unique = [("u", (column.name,)) for column in table.columns if column.unique]
        for kind, columns in [primary, *foreign, *unique]:
            if (table.name, kind, columns) not in found:
                yield f"{table.name} lacks {_KINDS[kind]} key ({', '.join(columns)})"


_KINDS = {"p": "its primary", "f": "the foreign", "u": "the unique"}


def _grants(connection: psycopg.Connection[Any]) -> Iterator[str]:
    is_there, should = access.granted(connection), access.decided()
    for table in sorted(access.tables_of(connection) ^ set(access.GRANTS)):
        yield f"table {table} is {'missing' if table in access.GRANTS else 'not decided on'}"
    for place in sorted({*is_there, *should}):
        table, role = place
        there, wanted = _single(is_there.get(place, set())), _single(should.get(place, set()))
        for word in sorted(there - wanted):
            yield f"{role} may {word} {table}, and should not"
        for word in sorted(wanted - there):
            yield f"{role} may not {word} {table}, and should"


def _single(privileges: Iterable[access.Privilege]) -> set[str]:
    """Each privilege, and of a limited one each column, in words that the name of the table follows."""
    return {
        word
        for name, columns in privileges
        for word in ([name] if columns is None else [f"{name} ({column}) of" for column in columns])
    }


def _policies(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for table in sorted(access.without_forced_row_security(connection) - access.WITHOUT_ROW_SECURITY):
        yield f"row security is not forced on {table}"
    about_one, about_all = access.user_policies(connection)
    for table in sorted(about_one ^ access.LIMITED_ROWS):
        yield f"users {'do not get just' if table in access.LIMITED_ROWS else 'get'} their own rows of {table}"
    for table in sorted(about_all - access.OPEN_ROWS):
        yield f"users get all rows of {table}"


def _roles(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for (role,) in connection.execute(_POWERS, {"logins": sorted(access.LOGINS)}):
        yield f"{role} can do more than it is granted"
    members = {tuple(row) for row in connection.execute(_MEMBERS)}
    for role, member in sorted(members ^ access.MEMBERSHIPS):
        yield f"{member} {'can' if (role, member) in members else 'can not'} become {role}"


_CHECKS: Sequence[tuple[str, str, Find]] = (
    ("sums", "user_analytics is the sum of the ledger, to the token and the tenth decimal", _sums),
    (
        "days",
        "days that are closed are the sum of user_analytics, and of lines of the ledger without tokens",
        _days,
    ),
    ("ledger", "every line belongs to a counted execution, and every end is counted", _ledger),
    ("keys", "primary, foreign and unique keys are there and hold", _keys),
    ("grants", "every role may do what was decided, and no more", _grants),
    ("policies", "row security is forced, and users get their own rows", _policies),
    ("roles", "no role has powers of its own, or can become another that was not decided", _roles),
)
