"""The list of executions anew from the log, while a projector goes on: what was wrong is right, `kept` stays."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.postgres import PostgresServer
from services.gateway.rebuild import Rebuilt, rebuild
from shared import events as ev
from shared.db import make_engine
from shared.ids import new_id
from tests.support.postgres import service_url
from tests.support.projection_world import World, completed, projection_database, projection_world, run_of

ROWS = "SELECT to_jsonb(executions) - 'updated_at' FROM executions ORDER BY id"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with projection_database(tmp_path_factory.mktemp("rebuild-postgres")) as running:
        yield running


@pytest.fixture
async def world(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[World]:
    async with projection_world(postgres, tmp_path) as made:
        yield made


@pytest.fixture
async def engine(postgres: PostgresServer) -> AsyncIterator[AsyncEngine]:
    made = make_engine(service_url(postgres, "gateway"), application="test", pool_size=1)
    yield made
    await made.dispose()


async def test_without_a_projector_and_without_rows_all_come_from_the_log(
    world: World, engine: AsyncEngine
) -> None:
    ids = [await world.append(*run_of(completed())) for _ in range(5)]
    assert await rebuild(world.nc, engine) == Rebuilt(rows=5, corrected=5)
    before = world.ask(ROWS)
    assert [row[0]["id"] for row in before] == sorted(ids)
    async with world.projecting():
        await world.caught_up()
    assert world.ask(ROWS) == before


async def test_rows_that_are_wrong_are_put_right_while_executions_go_on(
    world: World, engine: AsyncEngine
) -> None:
    async with world.projecting():
        ids = [await world.append(*run_of(completed())) for _ in range(20)]
        await world.caught_up()
        world.ask("UPDATE executions SET kept = true WHERE id = %s", ids[3])
        right = world.ask(ROWS)
        world.ask(
            "UPDATE executions SET status = 'failed', input_tokens = 7, last_seq = 999999 WHERE id = %s",
            ids[3],
        )
        world.ask("DELETE FROM executions WHERE id = %s", ids[4])
        world.ask(
            "INSERT INTO executions (id, user_id, engine_id, engine_name, engine_version, status, kind,"
            " created_at, last_seq) VALUES (%s, %s, 'e', 'E', 1, 'queued', 'none', now(), 1)",
            new_id(),
            new_id(),
        )
        more = asyncio.gather(*(world.append(*run_of(completed())) for _ in range(30)))
        done = await rebuild(world.nc, engine)
        new = await more
        await world.append(*run_of())
        await world.caught_up()
        assert (done.removed, done.corrected >= 2) == (1, True)
        known = {row[0]["id"]: row[0] for row in world.ask(ROWS)}
        assert [known[row[0]["id"]] for row in right] == [row[0] for row in right]
        assert set(new) < known.keys()
        assert {known[key]["status"] for key in new} == {"completed"}
        assert len(known) == 51
        assert (await rebuild(world.nc, engine)) == Rebuilt(rows=51)
        await world.caught_up()


async def test_a_stop_that_no_projector_has_seen_yet_stays_an_act(world: World, engine: AsyncEngine) -> None:
    admin = new_id()
    stop = ev.StopRequested(by=admin, reason="runs away", force=False)
    stopped = await world.append(*run_of(stop))
    for _ in range(2):
        await rebuild(world.nc, engine)
    async with world.projecting():
        await world.caught_up()
    acts = world.ask("SELECT action, target, reason FROM audit WHERE actor = %s", admin)
    assert acts == [("executions.stop", stopped, "runs away")]
