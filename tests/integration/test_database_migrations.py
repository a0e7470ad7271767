"""The schema, up and down; the services' picture of it; connections that come, fail and come back."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg.conninfo import make_conninfo
from sqlalchemy import create_engine, text

from deploy.local.database_owner import OWNER, give_to_owner
from deploy.local.postgres import PostgresServer
from deploy.migrations.__main__ import run
from shared import tables
from shared.db import driver_url, make_engine, transaction
from shared.errors import Unavailable

COUNT_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    running = PostgresServer(tmp_path / "postgres")
    running.start()
    yield running
    running.stop()


def _one(server: PostgresServer, query: str) -> Any:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


def test_up_twice_down_and_up_again(server: PostgresServer, capsys: pytest.CaptureFixture[str]) -> None:
    for action, expected in (
        ("upgrade", 19), ("upgrade", 19), ("downgrade", 19), ("downgrade", 17), ("downgrade", 17), ("downgrade", 17), ("downgrade", 16), ("downgrade", 16), ("downgrade", 16), ("downgrade", 14), ("downgrade", 12),
        ("downgrade", 0), ("upgrade", 19),
    ):  # fmt: skip
        run(action, server.url, {})
        assert _one(server, COUNT_TABLES) == expected
    run("current", server.url, {})
    assert capsys.readouterr().out.strip() == "0010 (head)"


def test_engines_of_the_first_revision_get_the_version_that_they_have(server: PostgresServer) -> None:
    run("upgrade", server.url, {}, "0001")
    with psycopg.connect(server.url) as connection:
        connection.execute(
            "INSERT INTO engines (owner_id, id, name, version, definition, updated_at)"
            """ VALUES (%s, 'old', 'Old', 7, '{"b": 1, "a": 2}', '2026-05-01T00:00:00Z')""",
            [tables.SYSTEM_USER_ID],
        )
    run("upgrade", server.url, {})
    with psycopg.connect(server.url) as connection:
        found = connection.execute(
            "SELECT id, version, definition::text, created_at::date::text, created_by::text FROM engine_versions"
        ).fetchall()
    assert found == [("old", 7, '{"b": 1, "a": 2}', "2026-05-01", tables.SYSTEM_USER_ID)]


def test_the_owner_needs_no_right_over_the_policies_of_rows(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD 'owner'")
        connection.execute("CREATE DATABASE owned OWNER owner")
    url = server.url_for("owner", "owner", "owned")
    run("upgrade", url, {}, "0001")
    with psycopg.connect(make_conninfo(server.url, dbname="owned")) as connection:
        connection.execute(
            "INSERT INTO engines (owner_id, id, name, definition) VALUES (%s, 'old', 'Old', '{}')",
            [tables.SYSTEM_USER_ID],
        )
    run("upgrade", url, {"LEKHIKA_DB_PASSWORD_GATEWAY": "gateway"})
    with psycopg.connect(make_conninfo(server.url, dbname="owned")) as connection:
        found = connection.execute("SELECT id FROM engine_versions").fetchall()
        unforced = connection.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity AND NOT relforcerowsecurity"
        ).fetchall()
        retired = connection.execute("SELECT count(*) FROM models WHERE name = 'gemini-1.5-pro'").fetchone()
    assert (found, unforced, retired) == ([("old",)], [], (1,))
    run("downgrade", url, {})
    run("downgrade", url, {})


def test_zones_of_the_ninth_revision_stay_and_their_days_are_closed_anew(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD 'owner'")
        connection.execute("CREATE DATABASE owned OWNER owner")
    url, whole = server.url_for("owner", "owner", "owned"), make_conninfo(server.url, dbname="owned")
    run("upgrade", url, {}, "0009")
    with psycopg.connect(whole) as connection:
        connection.execute(
            "INSERT INTO usage_zones (user_id, timezone, closed_until) VALUES (%s, 'Asia/Kathmandu', '2026-01-01Z')",
            [tables.SYSTEM_USER_ID],
        )
    query = "SELECT timezone, closed_until::text FROM usage_zones"
    for action in ("upgrade", "downgrade"):
        run(action, url, {})
        with psycopg.connect(whole) as connection:
            assert connection.execute(query).fetchall() == [("Asia/Kathmandu", "-infinity")]


def test_the_services_picture_is_the_schema(server: PostgresServer) -> None:
    run("upgrade", server.url, {})
    engine = create_engine(driver_url(server.url))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                # Indices serve queries and are no part of the picture.
                "include_object": lambda thing, name, kind, reflected, other: kind != "index",
            },
        )
        differences = compare_metadata(context, tables.metadata)
    engine.dispose()
    # Comments are for those who look at the database itself.
    assert [one for one in differences if "comment" not in str(one[0])] == []


def test_known_models_have_prices_and_the_dated_one_changes(server: PostgresServer) -> None:
    run("upgrade", server.url, {})
    without = (
        "SELECT count(*) FROM models WHERE (retired_at IS NULL OR retired_at > '2026-11-01') AND name NOT IN"
        " (SELECT model FROM model_prices GROUP BY model HAVING count(DISTINCT token_kind) = 5)"
    )
    assert _one(server, without) == 0
    with psycopg.connect(server.url) as connection:
        found = connection.execute(
            "SELECT valid_from::date::text, price_per_million FROM model_prices"
            " WHERE model = 'gemini-3.8-flash' AND token_kind = 'thoughts' ORDER BY valid_from"
        ).fetchall()
    assert found == [("2025-01-01", Decimal("3.75")), ("2027-01-01", Decimal("7.50"))]


def test_passwords_are_set_on_every_upgrade_and_never_shown(
    server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    for password in ("first-%s-'quoted'", "second"):
        run("upgrade", server.url, {"LEKHIKA_DB_PASSWORD_JANITOR": password})
        url = make_conninfo(server.url, user="lekhika_janitor", password=password)
        with psycopg.connect(url) as connection:
            assert connection.info.user == "lekhika_janitor"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(make_conninfo(server.url, user="lekhika_janitor", password="first"))
    output = capsys.readouterr()
    assert "second" not in output.out + output.err + server.log.read_text()


async def test_an_outage_is_unavailable_and_over_when_the_server_is_back(server: PostgresServer) -> None:
    engine = make_engine(server.url, application="test", pool_size=2)
    one = text("SELECT 1")
    async with transaction(engine) as connection:
        await connection.execute(one)
    server.kill()
    for _ in range(2):
        with pytest.raises(Unavailable):
            async with transaction(engine) as connection:
                await connection.execute(one)
    server.start()
    async with transaction(engine) as connection:
        assert (await connection.execute(one)).scalar() == 1
    await engine.dispose()


async def test_a_slow_statement_and_a_used_up_pool_are_unavailable(server: PostgresServer) -> None:
    engine = make_engine(server.url, application="test", pool_size=1, wait_seconds=0.1, statement_seconds=0.1)
    with pytest.raises(Unavailable, match="timeout"):
        async with transaction(engine) as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    async with transaction(engine):
        with pytest.raises(Unavailable):
            async with transaction(engine):
                pass
    await engine.dispose()


def test_a_database_that_a_superuser_migrated_becomes_the_owners(server: PostgresServer) -> None:
    run("upgrade", server.url, {})
    for _ in range(2):
        give_to_owner(server.url, "owner")
        run("upgrade", server.url_for(OWNER, "owner"), {"LEKHIKA_DB_PASSWORD_GATEWAY": "gateway"})
    of_others = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> '{0}'::regrole"
    assert _one(server, of_others.format(OWNER)) == 0
    assert not _one(server, f"SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = '{OWNER}'")
    run("downgrade", server.url_for(OWNER, "owner"), {}, "0001")
    run("upgrade", server.url_for(OWNER, "owner"), {})
