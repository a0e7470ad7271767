"""Programs beside the services: import of old executions, and the check of the database."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.checks import run_checks
from deploy.local.postgres import PostgresServer
from services.analytics import reprice
from services.analytics.import_executions import Wanted, import_executions, names_of, records
from services.analytics.store import Store
from shared.db import transaction
from shared.errors import Permanent
from shared.ids import new_id
from tests.support.ledger import USERS, bucket_of, rows
from tests.support.postgres import service_url
from tests.support.usage_ends import count, end, used

HEADER = "execution_id,user,engine_id,engine_name,model,input,cached,output,thoughts,tool,outcome,ended"
ENDED = "2025-09-30T22:10:00+00:00"
SUMS = "SELECT sum(total_tokens) AS tokens, sum(completed + stopped + failed) AS ends FROM user_analytics"


def wanted(file: Path, *, map_file: Path | None = None, dry_run: bool = False) -> Wanted:
    rejected = file.with_suffix(".rejected")
    return Wanted(file=file, names=names_of(map_file), rejected=rejected, dry_run=dry_run)


def csv_file(folder: Path, *lines: str) -> Path:
    file = folder / "old.csv"
    file.write_text("\n".join([HEADER, *lines]) + "\n")
    return file


async def test_what_changes_figures_is_an_act_of_the_operator(
    ledger_server: PostgresServer, engine: AsyncEngine, tmp_path: Path
) -> None:
    file = csv_file(tmp_path, f"run-act,{USERS[0]},book,A book,,0,0,0,0,0,failed,{ENDED}")
    for dry_run in (True, False, False):  # what is only looked at is none, nor what was imported before
        await import_executions(engine, wanted(file, dry_run=dry_run))
    for dry_run in (True, False):
        await reprice.reprice(engine, reprice.Wanted(model="gemini-2.5-pro", dry_run=dry_run))
    acts = rows(ledger_server, "SELECT actor, action, target, details FROM audit ORDER BY at")
    assert acts == [
        {"actor": "operator", "action": "usage.import", "target": "usage", "details": {"executions": 1}},
        {
            "actor": "operator",
            "action": "usage.reprice",
            "target": "usage",
            "details": {"from": None, "to": None, "model": "gemini-2.5-pro"},
        },
    ]
    with pytest.raises(ProgrammingError):
        async with transaction(engine) as connection:
            await connection.execute(
                text(
                    "INSERT INTO audit (id, actor, action, target) VALUES (gen_random_uuid(), :who, 'x', 'x')"
                ),
                {"who": USERS[0]},
            )


async def test_the_same_file_twice_counts_once(
    ledger_server: PostgresServer, engine: AsyncEngine, tmp_path: Path
) -> None:
    lines = [
        f"run-{n},{USERS[0]},book,A book,gemini-3.8-flash,100,0,10,0,0,completed,{ENDED}" for n in range(5)
    ]
    file = csv_file(tmp_path, *lines, f"run-5,{USERS[0]},book,A book,,0,0,0,0,0,failed,{ENDED}")
    would = await import_executions(engine, wanted(file, dry_run=True))
    assert (would["executions"], rows(ledger_server, SUMS)[0]["ends"]) == (6, None)
    done = [await import_executions(engine, wanted(file)) for _ in range(2)]
    assert [(one["executions"], one["imported_before"], one["rejects"]) for one in done] == [
        (6, 0, None),
        (0, 6, None),
    ]
    assert rows(ledger_server, SUMS) == [{"tokens": 550, "ends": 6}]
    costs = rows(ledger_server, "SELECT cost::text AS cost FROM usage_ledger WHERE line = 1 LIMIT 1")
    assert costs == [{"cost": "0.0001125000"}]
    [at] = rows(ledger_server, "SELECT DISTINCT bucket FROM usage_ledger")
    assert at["bucket"] == bucket_of(datetime.fromisoformat(ENDED))
    assert await Store(engine).differences() == []


def told_of(file: str) -> dict[int, tuple[str, str]]:
    """Field and reason by line."""
    with Path(file).open() as text:
        return {int(row["line"]): (row["field"], row["reason"]) for row in csv.DictReader(text)}


async def test_json_lines_with_a_map_and_rejects_with_their_reasons(
    ledger_server: PostgresServer, engine: AsyncEngine, tmp_path: Path
) -> None:
    (real,) = await count(engine, [(datetime.now(UTC), end(USERS[1], used()))])
    live = new_id()
    with psycopg.connect(ledger_server.url) as connection:
        connection.execute(
            "INSERT INTO executions (id, user_id, engine_id, engine_name, engine_version, status, kind,"
            " created_at, last_seq) VALUES (%s, %s, 'e', 'E', 1, 'running', 'none', now(), 1)",
            [live, USERS[1]],
        )
    good: dict[str, Any] = {
        "execution_id": new_id(), "user": "ada", "engine_id": "Unknown", "model": "gemini-2.5-pro",
        "tokens": {"input": 3, "output": 4}, "outcome": "success", "ended": ENDED,
    }  # fmt: skip
    lines = [
        good,
        good | {"model": "gemini-3.8-flash"},
        good | {"execution_id": real},
        good | {"execution_id": live},
        good | {"execution_id": "x", "user": new_id()},
        good | {"execution_id": "y", "tokens": {"output": -1}},
    ]
    file, map_file = tmp_path / "old.jsonl", tmp_path / "map.json"
    file.write_text("\n".join([*map(json.dumps, lines), "{not json", ""]))
    engines = {"Unknown": {"id": "book", "name": "A book"}}
    map_file.write_text(
        json.dumps({"users": {"ada": USERS[0]}, "engines": engines, "outcomes": {"success": "completed"}})
    )
    done = await import_executions(engine, wanted(file, map_file=map_file))
    assert (done["executions"], done["rejected_lines"]) == (1, 5)
    rejects = told_of(done["rejects"])
    assert {line: field for line, (field, _) in rejects.items()} == {
        3: "execution_id", 4: "execution_id", 5: "user", 6: "output", 7: "",
    }  # fmt: skip
    assert "counted by itself" in rejects[3][1]
    found = rows(
        ledger_server,
        "SELECT engine_name, total_tokens FROM user_analytics WHERE engine_id = 'book' ORDER BY model",
    )
    assert [tuple(row.values()) for row in found] == [("A book", 0), ("A book", 7), ("A book", 7)]


@pytest.mark.parametrize("content", ["[]", "{", '{"people": {}}', '{"engines": {"a": 1}}'])
def test_a_wrong_map_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "map.json"
    file.write_text(content)
    with pytest.raises(Permanent, match="the map"):
        names_of(file)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Permanent, match="can not be read"):
        list(records(file))


def checks(ledger_server: PostgresServer) -> dict[str, str]:
    """The detail of those that are not right, by name."""
    found = run_checks(service_url(ledger_server, "analytics"))
    return {one.name: one.detail for one in found if not one.ok}


async def test_a_database_that_is_as_it_must_be_passes_all_checks(
    ledger_server: PostgresServer, engine: AsyncEngine
) -> None:
    await count(engine, [(datetime.now(UTC), end(USERS[0], used()))])
    assert checks(ledger_server) == {}


DAY_TOO_MUCH = """
WITH zone AS (UPDATE usage_zones SET closed_until = '2026-01-01Z' RETURNING user_id, timezone)
INSERT INTO usage_days (user_id, timezone, start, sums, engines, models, kinds)
SELECT user_id, timezone, '2025-01-01Z', '[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]', '[]', '[]', '[]' FROM zone
"""


@pytest.mark.parametrize(
    ("name", "told", "spoil", "mend"),
    [
        ("sums", "surplus", "UPDATE user_analytics SET calls = calls + 1", "UPDATE user_analytics SET calls = calls - 1"),
        ("days", "missing: the day of", "UPDATE usage_zones SET closed_until = now()", "UPDATE usage_zones SET closed_until = '-infinity'"),
        ("days", "surplus: the day of", DAY_TOO_MUCH, "DELETE FROM usage_days"),
        ("days", "not recognized", "UPDATE usage_zones SET timezone = 'Mars/Olympus', closed_until = now()", "DELETE FROM usage_zones"),
        ("grants", "lekhika_user may SELECT (cost) of usage_ledger, and should not", "GRANT SELECT (cost) ON usage_ledger TO lekhika_user", "REVOKE SELECT (cost) ON usage_ledger FROM lekhika_user"),
        ("policies", "not forced on executions", "ALTER TABLE executions NO FORCE ROW LEVEL SECURITY", "ALTER TABLE executions FORCE ROW LEVEL SECURITY"),
        ("policies", "users do not get just their own rows of executions", "CREATE POLICY everybody ON executions TO lekhika_user USING (true)", "DROP POLICY everybody ON executions"),
        ("keys", "user_analytics lacks the foreign key (user_id)", "ALTER TABLE user_analytics DROP CONSTRAINT user_analytics_user_id_fkey", "ALTER TABLE user_analytics ADD FOREIGN KEY (user_id) REFERENCES users"),
        ("roles", "lekhika_janitor can become lekhika_admin", "GRANT lekhika_admin TO lekhika_janitor", "REVOKE lekhika_admin FROM lekhika_janitor"),
        ("ledger", "set aside", "INSERT INTO usage_rejects VALUES ('x', 'x', 1, now(), 'r', 'd', '')", "DELETE FROM usage_rejects"),
    ],
)  # fmt: skip
async def test_what_is_not_as_it_must_be_is_told(
    ledger_server: PostgresServer, engine: AsyncEngine, name: str, told: str, spoil: str, mend: str
) -> None:
    await count(engine, [(datetime.now(UTC) - timedelta(days=5), end(USERS[0], used()))])
    with psycopg.connect(ledger_server.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage_zones (user_id, timezone) VALUES (%s, 'Asia/Kathmandu')", [USERS[0]]
        )
        connection.execute(spoil.encode())
        try:
            assert told in checks(ledger_server)[name]
        finally:
            connection.execute(mend.encode())
    assert name not in checks(ledger_server)


def test_a_login_that_would_not_see_every_row_is_refused(ledger_server: PostgresServer) -> None:
    with pytest.raises(Permanent, match="log in as lekhika_analytics"):
        run_checks(service_url(ledger_server, "janitor"))
