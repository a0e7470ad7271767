"""Stops while something is dead, hung, restarting or away: one end each, none for ever in `stopping`, none runs again."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.execution import Status
from shared.usage import Certainty
from tests.support.cable import cable
from tests.support.gateway import ROOT, Database, running_database
from tests.support.stopping import How, Stage, all_at_once, chain, database, marked, one_call, stage
from tests.support.world import World, world

__all__ = ["database"]

EVERY_WAY = pytest.mark.parametrize("how", list(How))
FORCED = pytest.mark.parametrize("how", [How.BY_ADMIN, How.BY_OWNER])
SLOW = "chunk_ms=300 chunks=200"
QUICK = {"LEKHIKA_ACK_WAIT_SECONDS": "5"}
FORCE_SECONDS = 4.0
"""The two that the owner is left, and what a busy machine adds."""
PATIENCE = 15.0
"""No stop waits longer for its answer."""


@pytest.fixture
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    async with world(folder, {"ack_wait_seconds": 5.0}, apart=True) as made:
        yield made


@pytest.fixture
async def on(here: World, database: Database) -> AsyncIterator[Stage]:
    async with stage(here, database) as made:
        yield made


async def streaming(on: Stage) -> tuple[str, str]:
    """An execution in the middle of its call, some of whose text was published."""
    mark = marked()
    key = await on.start(one_call(mark, SLOW), mark)
    await on.streaming(mark)
    await on.here.writing(key, "text")
    return key, mark


class TestItsOwnerIsDead:
    @EVERY_WAY
    async def test_another_executor_ends_it_without_a_call_or_whoever_forces_it(
        self, on: Stage, how: How
    ) -> None:
        owner = on.here.executor(**QUICK)
        key, mark = await streaming(on)
        on.here.executor(**QUICK)
        await owner.ended(signal.SIGKILL)
        began = time.monotonic()
        answer = await on.stop(key, how)
        assert answer.json()["status"] == ("stopping" if how is How.PLAIN else "stopped")
        assert time.monotonic() - began < FORCE_SECONDS
        state = await on.stopped(key, mark)
        assert (state.attempt, len(await on.here.calls(mark))) == (1, 1)
        assert state.partials[0].output.characters > 0
        assert state.tokens.certainty is Certainty.ESTIMATED
        assert state.tokens.output > 0

    async def test_without_any_executor_left_the_janitor_ends_it(self, on: Stage, database: Database) -> None:
        owner = on.here.executor(**QUICK)
        key, mark = await streaming(on)
        await owner.ended(signal.SIGKILL)
        with janitor(on.here, database):
            assert (await on.stop(key)).json()["status"] == "stopping"
            state = await on.stopped(key, mark)
        assert state.partials[0].output.characters > 0

    @FORCED
    async def test_without_anybody_a_force_ends_it(self, on: Stage, how: How) -> None:
        owner = on.here.executor(**QUICK)
        key, mark = await streaming(on)
        await owner.ended(signal.SIGKILL)
        answer = await on.stop(key, how)
        assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
        await on.stopped(key, mark)


@contextmanager
def janitor(here: World, database: Database) -> Iterator[None]:
    quick = {"LEKHIKA_JANITOR_INTERVAL_SECONDS": "0.5"}
    env = {
        **os.environ,
        "NATS_URL": here.server.url_for("janitor"),
        "DATABASE_URL": database.server.url,
        **quick,
    }
    with (here.folder / "janitor.log").open("wb") as output:
        command = [sys.executable, "-m", "services.janitor"]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


class TestItsOwnerHangs:
    @EVERY_WAY
    async def test_it_is_ended_meanwhile_and_the_owner_lets_go_when_it_comes_back(
        self, on: Stage, how: How
    ) -> None:
        owner = on.here.executor(**QUICK)
        key, mark = await streaming(on)
        on.here.executor(**QUICK)
        owner.process.send_signal(signal.SIGSTOP)
        await on.stop(key, how)
        assert (await on.here.ended(key)).status is Status.STOPPED
        owner.process.send_signal(signal.SIGCONT)
        state = await on.stopped(key, mark)  # its call is closed, too
        assert (state.attempt, len(await on.here.calls(mark))) == (1, 1)

    async def test_one_that_comes_back_in_time_ends_it_with_exact_figures(self, on: Stage) -> None:
        owner = on.here.executor(**QUICK)
        key, mark = await streaming(on)
        owner.process.send_signal(signal.SIGSTOP)
        assert (await on.stop(key)).json()["status"] == "stopping"
        owner.process.send_signal(signal.SIGCONT)
        state = await on.stopped(key, mark)
        assert state.tokens.certainty is Certainty.MEASURED

    async def test_cut_off_in_the_middle_of_a_chain_it_begins_nothing_after_a_forced_end(
        self, here: World, database: Database
    ) -> None:
        """Whatever was on its way: an append, its acknowledgement, or neither."""
        async with cable(here.server.url_for("executor")) as wire, stage(here, database, 1) as on:
            here.executor(**QUICK, NATS_URL=wire.url)
            for _ in range(5):
                mark = marked()
                key = await on.start(chain(mark, 200, "first_ms=0 chunks=1 words=2"), mark)
                await here.heard(key, "node_completed", f"n{random.randint(1, 5)}")
                wire.hold()
                answer = await on.stop(key, How.BY_ADMIN)
                assert answer.json()["status"] == "stopped"
                before = len(await here.calls(mark))
                wire.release()
                other = marked()
                await here.ended(await on.start(one_call(other), other))  # it works again
                await on.stopped(key, mark)
                assert len(await here.calls(mark)) == before


async def test_its_owner_is_asked_to_end_at_the_same_moment(on: Stage) -> None:
    """Stopped or handed back first: in the end it is stopped, and nobody runs it again."""
    seen: Counter[str] = Counter()
    owner = on.here.executor(**QUICK)
    for _ in range(6):
        begun = await asyncio.gather(*(streaming(on) for _ in range(6)))
        heir = on.here.executor(**QUICK)

        async def stop(key: str) -> httpx.Response:
            await asyncio.sleep(0.05 * random.random())
            return await on.stop(key, by=random.randrange(2))

        asked = asyncio.gather(*(stop(key) for key, _ in begun))
        await asyncio.sleep(0.05 * random.random())
        assert await owner.ended(signal.SIGTERM) == 0
        for answer in await asked:
            assert answer.status_code == 202
        for key, mark in begun:
            await on.stopped(key, mark)
            kinds = [r.event.type for r in await on.here.history(key)]
            seen["handed back" if "released" in kinds else "stopped by its owner"] += 1
        owner = heir
    assert seen["stopped by its owner"], seen


class TestNatsIsAway:
    @EVERY_WAY
    async def test_a_stop_is_refused_in_time_and_can_be_repeated(self, on: Stage, how: How) -> None:
        on.here.executor(**QUICK)
        key, mark = await streaming(on)
        on.here.server.kill()
        began = time.monotonic()
        asked = [on.stop(key, How.BY_ADMIN if how is How.BY_ADMIN else How.PLAIN, by) for by in (0, 1)]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, httpx.Response)
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert time.monotonic() - began < PATIENCE
        on.here.server.start()
        await self._repeated(on, key, how)
        await on.stopped(key, mark)

    async def _repeated(self, on: Stage, key: str, how: How) -> None:
        path, body = f"/v1/executions/{key}/stop", {"force": how is How.BY_OWNER}
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await (on.stop(key, how) if how is How.BY_ADMIN else on.ada[0].post(path, json=body))
                if answer.json().get("status") == "stopped":
                    return
                assert answer.status_code in (202, 409, 503), answer.text
                await asyncio.sleep(0.1)

    @EVERY_WAY
    async def test_killed_just_as_the_stop_is_stored_it_is_obeyed_when_it_is_back(
        self, on: Stage, how: How
    ) -> None:
        on.here.executor(**QUICK)
        for _ in range(3):
            key, mark = await streaming(on)

            async def kill() -> None:
                await asyncio.sleep(0.02 * random.random())
                on.here.server.kill()
                on.here.server.start()

            asked = on.stop(key, how if how is How.BY_ADMIN else How.PLAIN)
            answer, _ = await asyncio.gather(asked, kill(), return_exceptions=True)
            assert isinstance(answer, httpx.Response)
            assert answer.status_code in (200, 202, 503)
            await self._repeated(on, key, how)
            await on.stopped(key, mark)


@EVERY_WAY
async def test_without_postgres_those_who_are_known_stop_and_force(
    here: World, tmp_path: Path, how: How
) -> None:
    with running_database(tmp_path / "postgres") as database:
        async with stage(here, database) as on:
            here.executor(**QUICK)
            begun = [await streaming(on) for _ in on.gateways]
            for client in (*on.ada, *on.root):
                assert (await client.get("/v1/me")).status_code == 200
            database.server.kill()
            answers = await all_at_once(*(on.stop(key, how, by) for by, (key, _) in enumerate(begun)))
            assert {answer.status_code for answer in answers} <= {200, 202}
            for key, mark in begun:
                await on.stopped(key, mark)
