"""What the roles of the database can do and can not, tried as they are used."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Delete, Insert, Select, Update, func, insert, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.access import GRANTS
from deploy.local.postgres import PostgresServer
from shared import tables
from shared.db import Role, make_engine, transaction
from shared.errors import Unavailable
from shared.ids import new_id
from shared.tables import SYSTEM_USER_ID
from tests.support.postgres import migrated_server, service_url

ANN, BOB = new_id(), new_id()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with migrated_server(tmp_path_factory.mktemp("postgres")) as running:
        with psycopg.connect(running.url) as connection:
            _fill(connection)
        yield running


@pytest.fixture
async def gateway(server: PostgresServer) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(service_url(server, "gateway"), application="test", pool_size=1, wait_seconds=1)
    yield engine
    await engine.dispose()


def _fill(connection: psycopg.Connection[Any]) -> None:
    """The same rows for two people, in every table that has people's rows."""
    for place, user in enumerate((ANN, BOB)):
        name = ("ann", "bob")[place]
        give = connection.execute
        give("INSERT INTO users (id, email, display_name) VALUES (%s, %s, %s)", [user, f"{name}@x.org", name])
        give(
            "INSERT INTO api_keys (id, user_id, prefix, digest, name) VALUES (%s, %s, 'lk_12345', %s, 'key')",
            [user, user, bytes([place]) * 32],
        )
        give("INSERT INTO engines (owner_id, id, name, definition) VALUES (%s, 'mine', 'Mine', '{}')", [user])
        give(
            "INSERT INTO engine_versions (owner_id, id, version, definition, created_by)"
            " VALUES (%s, 'mine', 1, '{}', %s)",
            [user, user],
        )
        give("INSERT INTO engine_drafts (owner_id, id, definition) VALUES (%s, 'mine', '{}')", [user])
        give(
            "INSERT INTO executions (id, user_id, engine_id, engine_name, engine_version, status, kind,"
            " created_at, last_seq) VALUES (%s, %s, 'e', 'E', 1, 'queued', 'none', now(), 1)",
            [user, user],
        )
        give(
            "INSERT INTO usage_ledger (execution_id, line, user_id, engine_id, engine_name, bucket, ended_at,"
            " model, model_type, certainty, long_context, cost)"
            " VALUES (%s, 1, %s, 'e', 'E', now(), now(), 'm', 'payg', 'measured', false, 1)",
            [user, user],
        )
        give(
            "INSERT INTO user_analytics (user_id, analytics_type, bucket, engine_id, engine_name, model,"
            " model_type, total_cost) VALUES (%s, 'token_usage', now(), 'e', 'E', 'm', 'payg', 1)",
            [user],
        )
        give("INSERT INTO usage_zones (user_id, timezone) VALUES (%s, 'UTC')", [user])
        give(
            "INSERT INTO usage_days (user_id, timezone, start, sums, engines, models, kinds)"
            " VALUES (%s, 'UTC', now(), '[]', '[]', '[]', '[]')",
            [user],
        )
        give("INSERT INTO audit (id, actor, action, target) VALUES (%s, %s, 'a', 't')", [user, user])
    connection.execute(
        "INSERT INTO engines (owner_id, id, name, definition, shared) VALUES (%s, 'sample', 'S', '{}', true)",
        [SYSTEM_USER_ID],
    )
    connection.execute(
        "INSERT INTO engine_versions (owner_id, id, version, definition, created_by) VALUES (%s, 'sample', 1, '{}', %s)",
        [SYSTEM_USER_ID, SYSTEM_USER_ID],
    )


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("users", "id"),
        ("api_keys", "user_id"),
        ("executions", "user_id"),
        ("usage_ledger", "user_id"),
        ("user_analytics", "user_id"),
        ("usage_zones", "user_id"),
        ("usage_days", "user_id"),
        ("engine_versions", "owner_id"),
        ("engine_drafts", "owner_id"),
    ],
)
async def test_a_user_sees_no_row_of_another_without_any_where(
    gateway: AsyncEngine, table: str, column: str
) -> None:
    query = select(tables.metadata.tables[table].c[column])
    async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
        assert list((await connection.execute(query)).scalars()) == [ANN]
    async with transaction(gateway, role=Role.USER) as connection:
        assert list((await connection.execute(query)).scalars()) == []


async def test_a_user_sees_his_engines_and_the_shared_ones(gateway: AsyncEngine) -> None:
    async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
        seen = await connection.execute(select(tables.engines.c.owner_id, tables.engines.c.id))
        assert {tuple(row) for row in seen} == {(ANN, "mine"), (SYSTEM_USER_ID, "sample")}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT cost FROM usage_ledger",
        "SELECT price_version FROM usage_ledger",
        "SELECT * FROM usage_ledger",
        "SELECT usage_ledger FROM usage_ledger",
        "SELECT 1 FROM usage_ledger WHERE cost > 0",
        "SELECT 1 FROM usage_ledger ORDER BY cost",
        "SELECT total_cost FROM user_analytics",
        "SELECT sum(total_cost) FROM user_analytics",
        "SELECT user_analytics FROM user_analytics",
        "SELECT price_per_million FROM model_prices",
        "SELECT digest FROM api_keys",
        "SELECT 1 FROM sessions",
        "SELECT digest FROM user_passwords",
        "SELECT 1 FROM user_identities",
        "SELECT 1 FROM audit",
        "SELECT 1 FROM usage_rejects",
        "UPDATE executions SET status = 'completed'",
        "UPDATE user_analytics SET calls = 0",
        "UPDATE usage_zones SET closed_until = now()",
        "DELETE FROM usage_zones",
        "UPDATE usage_days SET sums = '[]'",
        "DELETE FROM usage_days",
        "UPDATE users SET role = 'superadmin'",
        "DELETE FROM usage_ledger",
        "UPDATE engine_versions SET definition = '{}'",
        "DELETE FROM engine_versions",
    ],
)
async def test_the_role_that_serves_users_may_not(gateway: AsyncEngine, query: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
            await connection.execute(text(query))


ENGINE = {"id": "new", "name": "New", "definition": {}}


@pytest.mark.parametrize(
    "statement",
    [
        insert(tables.engines).values(owner_id=BOB, **ENGINE),
        insert(tables.engines).values(owner_id=ANN, shared=True, **ENGINE),
        update(tables.engines).where(tables.engines.c.id == "mine").values(owner_id=BOB),
        insert(tables.engine_versions).values(
            owner_id=BOB, id="mine", version=2, definition={}, created_by=ANN
        ),
        insert(tables.engine_versions).values(
            owner_id=ANN, id="mine", version=2, definition={}, created_by=BOB
        ),
        insert(tables.engine_drafts).values(owner_id=BOB, id="new", definition={}),
        insert(tables.audit).values(id=new_id(), actor=BOB, action="stop", target="x"),
        insert(tables.api_keys).values(
            id=new_id(), user_id=BOB, prefix="lk_", digest=b"2" * 32, name="for Bob"
        ),
    ],
)
async def test_a_user_can_write_nothing_in_the_name_of_others_or_for_all(
    gateway: AsyncEngine, statement: Insert | Update
) -> None:
    with pytest.raises(ProgrammingError, match="row-level security"):
        async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
            await connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        update(tables.engines).where(tables.engines.c.owner_id != ANN).values(name="Taken"),
        tables.engines.delete().where(tables.engines.c.owner_id != ANN),
        update(tables.engines).where(tables.engines.c.owner_id != ANN).values(shared=True),
        update(tables.engine_drafts).where(tables.engine_drafts.c.owner_id != ANN).values(definition={}),
        update(tables.executions).where(tables.executions.c.user_id != ANN).values(kept=True),
        update(tables.api_keys).where(tables.api_keys.c.user_id != ANN).values(name="taken"),
    ],
)
async def test_a_user_s_statement_does_not_reach_rows_of_others(
    gateway: AsyncEngine, statement: Update | Delete
) -> None:
    async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
        assert (await connection.execute(statement)).rowcount == 0


async def test_a_revoked_key_stays_revoked(gateway: AsyncEngine) -> None:
    async with transaction(gateway, role=Role.USER, user_id=BOB) as connection:
        revoke = update(tables.api_keys).values(revoked_at=func.now())
        restore = update(tables.api_keys).values(revoked_at=None)
        assert (await connection.execute(revoke)).rowcount == 1
        assert (await connection.execute(restore)).rowcount == 0


async def test_an_admin_sees_all_and_adds_to_the_audit_without_changing_it(gateway: AsyncEngine) -> None:
    async with transaction(gateway, role=Role.ADMIN) as connection:
        costs = await connection.execute(select(tables.user_analytics.c.total_cost))
        assert len(costs.all()) == 2
        await connection.execute(
            insert(tables.audit).values(id=new_id(), actor=ANN, action="drain", target="w")
        )
    for forbidden in ("UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with transaction(gateway, role=Role.ADMIN) as connection:
                await connection.execute(text(forbidden))


@pytest.mark.parametrize("statement", ["UPDATE audit SET reason = ''", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_audit_is_only_added_to_whoever_asks(server: PostgresServer, statement: str) -> None:
    with (
        psycopg.connect(server.url) as owner,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"),
    ):
        owner.execute(statement.encode())


async def test_a_repeated_audit_line_of_the_projector_is_one_line(gateway: AsyncEngine) -> None:
    line = {"id": new_id(), "actor": ANN, "action": "stop", "target": "x"}
    query = text(
        "INSERT INTO audit (id, actor, action, target) VALUES (:id, :actor, :action, :target)"
        " ON CONFLICT DO NOTHING"
    )
    for expected in (1, 0):
        async with transaction(gateway, role=Role.PROJECTOR) as connection:
            assert (await connection.execute(query, line)).rowcount == expected


@pytest.mark.parametrize("table", sorted(GRANTS))
async def test_the_gateway_s_login_alone_may_do_nothing(gateway: AsyncEngine, table: str) -> None:
    query: Select[Any] = select(func.count()).select_from(text(f"public.{table}"))
    with pytest.raises(ProgrammingError, match="permission denied"):
        async with transaction(gateway) as connection:
            await connection.execute(query)


async def test_role_and_user_do_not_stay_on_the_connection(gateway: AsyncEngine) -> None:
    who = text("SELECT pg_backend_pid(), current_user, current_setting('lekhika.user_id', true)")
    async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
        pid, *bound = (await connection.execute(who)).one()
    async with transaction(gateway) as connection:
        same_pid, *after = (await connection.execute(who)).one()
    assert (pid, bound, after) == (same_pid, ["lekhika_user", ANN], ["lekhika_gateway", ""])


def test_other_logins_can_not_take_the_gateway_s_roles(server: PostgresServer) -> None:
    for login in ("lekhika_analytics", "lekhika_janitor"):
        with psycopg.connect(server.url) as connection:
            connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(login)))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("SET ROLE lekhika_admin")


async def test_the_server_asks_whether_its_client_is_alive(gateway: AsyncEngine) -> None:
    async with transaction(gateway) as connection:
        found = [
            (await connection.execute(text(f"SHOW tcp_keepalives_{name}"))).scalar_one()
            for name in ("idle", "interval", "count")
        ]
    assert found == ["30", "5", "3"]


async def test_an_error_does_not_tell_what_was_sent(gateway: AsyncEngine) -> None:
    """It ends up in a log, with its traceback."""
    with pytest.raises(ProgrammingError) as refusal:
        async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
            await connection.execute(
                text("SELECT digest FROM sessions WHERE csrf = :csrf"), {"csrf": "a secret"}
            )
    assert "a secret" not in str(refusal.value)


def _break_connections(server: PostgresServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'lekhika_gateway'"
        )


async def test_a_pooled_connection_that_broke_meanwhile_is_replaced(
    server: PostgresServer, gateway: AsyncEngine
) -> None:
    for _ in range(2):
        async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
            assert (await connection.execute(text("SELECT current_user"))).scalar_one() == "lekhika_user"
        _break_connections(server)


async def test_a_transaction_whose_connection_breaks_later_is_not_tried_again(
    server: PostgresServer, gateway: AsyncEngine
) -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        async with transaction(gateway, role=Role.USER, user_id=ANN) as connection:
            begun += 1
            _break_connections(server)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await work()
    assert begun == 1
    async with transaction(gateway) as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
