"""With every condition on a user taken out of the gateway's queries, a user still sees no row of somebody else.

The statements are changed on their way to the database, so that only its own rules are left to hold.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakSet

import httpx
import pytest
from sqlalchemy import Connection, event

from shared.ids import new_id
from tests.support.gateway import Database, Gateway, Person, add_person

MARK = "belongs-to-ben"
"""In every text of the other one's rows."""
_WHOSE = r"(?:\w+\.)?(?:user_id|owner_id)"
_VALUE = r"(?:CAST\()?%\((?:user_id|owner_id)\w*\)s(?:::UUID)?(?: AS uuid\))?"
_CONDITION = re.compile(rf"{_WHOSE} = ({_VALUE})", re.IGNORECASE)
_ROLE = "set_config('role'"


@contextmanager
def stripped(gateway: Gateway, *, as_role: str | None = None) -> Iterator[list[str]]:
    """Takes the conditions out of what the role that serves users executes; gives the statements that had one. `as_role`
    acts as another role. What the gateway does by itself meanwhile stays as it is: an erasure would erase everybody.
    """
    found: list[str] = []
    serving = WeakSet[Connection]()

    def strip(
        connection: Connection, _: Any, statement: str, given: Any, __: Any, ___: bool
    ) -> tuple[str, Any]:
        if _ROLE in statement and given["role"] == "lekhika_user":
            serving.add(connection)
            return statement, {**given, "role": as_role or given["role"]}
        if connection not in serving:
            return statement, given
        # The parameter stays in use: the driver would else not know its type.
        changed, count = _CONDITION.subn(r"(\g<1> IS NOT NULL)", statement)
        if count and not statement.lstrip().upper().startswith("INSERT"):
            found.append(changed)
            return changed, given
        return statement, given

    engine = gateway.parts.db.sync_engine
    event.listen(engine, "before_cursor_execute", strip, retval=True)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", strip)


@pytest.fixture
def other(database: Database) -> Person:
    """Somebody with rows in every table that has people's."""
    person = Person(new_id(), f"lk_{new_id()}")
    add_person(database, MARK, person)
    run, whose = database.execute, person.user_id
    definition = '{"name": "' + MARK + '"}'
    run(
        "INSERT INTO engines (owner_id, id, name, definition) VALUES (%s, %s, %s, %s)",
        whose,
        MARK,
        MARK,
        definition,
    )
    run(
        "INSERT INTO engine_versions (owner_id, id, version, definition, created_by) VALUES (%s, %s, 1, %s, %s)",
        whose, MARK, definition, whose,
    )  # fmt: skip
    run("INSERT INTO engine_drafts (owner_id, id, definition) VALUES (%s, %s, %s)", whose, MARK, definition)
    run(
        "INSERT INTO executions (id, user_id, engine_id, engine_name, engine_version, status, kind, created_at,"
        " last_seq) VALUES (%s, %s, %s, %s, 1, 'completed', 'none', now(), 0)",
        whose, whose, MARK, MARK,
    )  # fmt: skip
    run(
        "INSERT INTO usage_ledger (execution_id, line, user_id, engine_id, engine_name, bucket, ended_at, event_id,"
        " outcome, kind, attempts, requested_at)"
        " VALUES (%s, 0, %s, %s, %s, date_trunc('hour', now()), now(), %s, 'completed', 'payg', 1, now())",
        whose, whose, MARK, MARK, new_id(),
    )  # fmt: skip
    run(
        "INSERT INTO usage_ledger (execution_id, line, user_id, engine_id, engine_name, bucket, ended_at, model,"
        " model_type, certainty, long_context, input_tokens, cost)"
        " VALUES (%s, 1, %s, %s, %s, date_trunc('hour', now()), now(), %s, 'payg', 'measured', false, 4711, 1)",
        whose, whose, MARK, MARK, MARK,
    )  # fmt: skip
    run(
        "INSERT INTO user_analytics (user_id, analytics_type, bucket, engine_id, engine_name, model, model_type,"
        " input_tokens, total_cost) VALUES (%s, 'token_usage', date_trunc('hour', now()), %s, %s, %s, 'payg', 4711, 1)",
        whose, MARK, MARK, MARK,
    )  # fmt: skip
    run("INSERT INTO usage_zones (user_id, timezone, closed_until) VALUES (%s, 'UTC', '2100-01-01Z')", whose)
    run(
        "INSERT INTO usage_days (user_id, timezone, start, sums, engines, models, kinds) SELECT %s, 'UTC',"
        " date_trunc('day', now(), 'UTC') - n * interval '1 day', '[4711, 0, 0, 0, 0, 4711, 0, 0, 0, 0, 0]', json_build_array(json_build_array(%s::text, %s::text,"
        " 4711, 0, 0, 0, 0, 4711, 0, 0, 0, 0, 0)), json_build_array(json_build_array(%s::text, 4711, 0, 0, 0, 0, 4711, 0, 0, 0, 0, 0)), '[]'"
        " FROM generate_series(0, 9) AS n",
        whose, MARK, MARK, MARK,
    )  # fmt: skip
    return person


async def routes(client: httpx.AsyncClient, whose: str) -> list[str]:
    """Every call of the description that reads and is not for superadmins, with the other one's ids in it."""
    described = (await client.get("/openapi.json")).json()["paths"]
    ids = {"execution_id": whose, "engine_id": MARK, "id": MARK, "version": "1"}
    found = []
    for path, methods in described.items():
        if "get" not in methods or path.startswith("/v1/admin"):
            continue
        names = re.findall(r"\{(\w+)\}", path)
        filled = path
        for name in names:
            value = whose if name == "id" and "/executions/" in path else ids.get(name, whose)
            filled = filled.replace(f"{{{name}}}", value)
        found.append(filled)
    assert len(found) >= 8
    start = (datetime.now(UTC) - timedelta(days=10)).date()
    return [*found, f"/v1/usage?bucket=day&group_by=engine&from={start}"]


async def answers(client: httpx.AsyncClient, whose: str) -> dict[str, str]:
    return {path: await answer(client, path) for path in await routes(client, whose)}


async def answer(client: httpx.AsyncClient, path: str) -> str:
    """Without conditions some statements find more rows than they can deal with: an export then breaks off."""
    try:
        return (await client.get(path)).text
    except httpx.RemoteProtocolError:
        return ""


@pytest.fixture
async def one(gateway: Gateway, database: Database) -> Any:
    """Somebody else, of whom the gateway remembers nothing."""
    person = Person(new_id(), f"lk_{new_id()}")
    add_person(database, "one", person)
    async with gateway.client(person) as client:
        yield client


async def test_without_any_condition_on_the_user_nobody_sees_another_s_rows(
    gateway: Gateway, one: httpx.AsyncClient, other: Person
) -> None:
    with stripped(gateway) as statements:
        seen = await answers(one, other.user_id)
    for table in (
        "executions",
        "engines",
        "engine_drafts",
        "usage_ledger",
        "user_analytics",
        "usage_days",
        "usage_zones",
    ):
        assert any(re.search(rf"(FROM|JOIN) {table}\b", statement) for statement in statements), (
            f"{table} was not tried"
        )
    for path, text in seen.items():
        answered = text.replace(path, "")
        assert f'"{MARK}"' not in answered, path
        assert not re.search(r'"(input|total)(_tokens)?": *[1-9]', answered), (
            f"{path}: who has run nothing has used nothing"
        )
        assert other.user_id not in answered, path


async def test_it_is_the_database_that_holds(gateway: Gateway, one: httpx.AsyncClient, other: Person) -> None:
    """The same calls as a role that sees all rows do show them: else the test above would prove nothing."""
    with stripped(gateway, as_role="lekhika_admin"):
        seen = await answers(one, other.user_id)
    shown = {path for path, text in seen.items() if MARK in text.replace(path, "")}
    assert {"/v1/executions", "/v1/usage/executions"} <= shown
