"""A stop against a claim, against the end, and against a busy loop: again and again, until every outcome was seen."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from shared import events as ev
from shared.errors import Conflict
from shared.ids import new_id
from shared.tasks import spawn
from tests.support.gateway import Database
from tests.support.make import requested
from tests.support.stopping import Stage, database, loop, marked, one_call, stage
from tests.support.world import world

__all__ = ["database"]

SLOW = "chunk_ms=300 chunks=40"
RACES = 100


@pytest.fixture(scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory, database: Database) -> AsyncIterator[Stage]:
    """One executor, two gateways."""
    async with world(tmp_path_factory.mktemp("races"), apart=True) as here, stage(here, database) as made:
        here.executor()
        yield made


async def test_at_the_claim_either_it_never_runs_or_its_executor_ends_it(
    on: Stage, database: Database
) -> None:
    """The stop comes while the executor takes the request; each time a little earlier or later."""
    mark, ada = marked(), database.people["ada"].user_id
    seen: Counter[bool] = Counter()

    async def stop_once_known(key: str, by: int) -> httpx.Response:
        while (answer := await on.stop(key, by=by)).status_code == 404:
            pass
        return answer

    async def one(number: int) -> None:
        key, body = new_id(), requested(one_call(f"{mark} {number}.", SLOW), user_id=ada)
        asked = spawn(stop_once_known(key, number % 2), name="stop")
        await asyncio.sleep(0.01 * random.random())
        await on.here.log.append(key, body, 0)
        assert (await asked).status_code == 202
        state = await on.stopped(key, f"{mark} {number}.")
        seen[state.started_at is not None] += 1

    for start in range(0, RACES, 4):
        await asyncio.gather(*(one(start + offset) for offset in range(4)))
    assert set(seen) == {True, False}, seen


async def test_at_the_end_it_is_either_completed_or_stopped(on: Stage, database: Database) -> None:
    """The stop comes at every moment of a run of a few milliseconds, its last append included."""
    mark, ada = marked(), database.people["ada"].user_id
    seen: Counter[str] = Counter()
    took: list[float] = []

    async def begin(number: int) -> str:
        key = new_id()
        definition = one_call(f"{mark} {number}.", "first_ms=0 chunks=1 words=3")
        await on.here.log.append(key, requested(definition, user_id=ada), 0)
        return key

    for number in range(5):
        began = time.monotonic()
        await on.here.heard(await begin(number), "completed")
        took.append(time.monotonic() - began)
    for number in range(5, 5 + RACES):
        key = await begin(number)
        await asyncio.sleep(1.2 * min(took) * random.random())
        answer = await on.stop(key, by=number % 2)
        assert answer.status_code in (200, 202)
        state = await on.stopped(key, f"{mark} {number}.", ("completed", "stopped"))
        seen[state.status] += 1
    assert set(seen) == {"completed", "stopped"}, seen


async def test_with_the_very_last_event_one_of_the_two_is_stored(on: Stage, database: Database) -> None:
    """The stop is appended as soon as the last node is heard to be completed."""
    mark, ada = marked(), database.people["ada"].user_id
    seen: Counter[str] = Counter()
    for number in range(RACES):
        key = new_id()
        definition = one_call(f"{mark} {number}.", "first_ms=0 chunks=1 words=3")
        async with on.here.log.follow(key) as follower:
            await on.here.log.append(key, requested(definition, user_id=ada), 0)
            while not any(isinstance(r.event, ev.NodeCompleted) for r in await follower.next()):
                pass
        with contextlib.suppress(Conflict):  # the end was first
            await on.here.log.append(key, ev.StopRequested(by=ada), follower.position)
        state = await on.stopped(key, f"{mark} {number}.", ("completed", "stopped"))
        seen[state.status] += 1
    assert set(seen) <= {"completed", "stopped"}


async def test_a_stop_gets_between_the_appends_of_a_busy_loop(on: Stage) -> None:
    """Many nodes end in the same moments; the guard refuses the stop again and again, but not for ever."""
    for _ in range(3):
        mark = marked()
        key = await on.start(loop(mark, 400, "first_ms=0 chunks=1 words=2", concurrency=32), mark)
        await on.here.heard(key, "node_completed", "parts/20")
        began = time.monotonic()
        answer = await on.stop(key)
        assert answer.status_code == 202, answer.text
        assert time.monotonic() - began < 2
        await on.stopped(key, mark)
