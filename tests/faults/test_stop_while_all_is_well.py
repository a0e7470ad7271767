"""A stop at every moment of a run, asked plainly and with force: one end, no call after it, text and usage kept.

Those that need a process killed or a server away are in tests/faults.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.execution import Status
from shared.usage import Certainty
from tests.support.cable import cable
from tests.support.gateway import Database
from tests.support.stopping import How, Stage, all_at_once, chain, loop, marked, one_call, stage
from tests.support.world import world

EVERY_WAY = pytest.mark.parametrize("how", list(How))
SLOW = "chunk_ms=300 chunks=40"


@pytest.fixture(scope="module")
async def on(tmp_path_factory: pytest.TempPathFactory, database: Database) -> AsyncIterator[Stage]:
    """One executor, two gateways."""
    async with world(tmp_path_factory.mktemp("stops"), apart=True) as here, stage(here, database) as made:
        here.executor()
        yield made


def check_kept(state: Any) -> None:
    """What had been written and counted when the call was cut is in the end."""
    assert state.partials
    assert all(partial.output.characters > 0 for partial in state.partials)
    assert state.tokens.output > 0


class TestNobodyHasIt:
    @EVERY_WAY
    async def test_before_any_executor_exists_it_ends_at_once_and_never_runs(
        self, tmp_path_factory: pytest.TempPathFactory, database: Database, how: How
    ) -> None:
        async with world(tmp_path_factory.mktemp("empty")) as here, stage(here, database, 1) as on:
            mark, other = marked(), marked()
            key = await on.start(one_call(mark), mark)
            answer = await on.stop(key, how)
            assert answer.json()["status"] == "stopped"
            assert answer.json()["stop"]["force"] == (how is How.BY_ADMIN)
            later = await on.start(one_call(other), other)
            here.executor()
            assert (await here.ended(later)).status is Status.COMPLETED
            await on.stopped(key, mark)
            assert await here.calls(mark) == []

    @EVERY_WAY
    async def test_one_that_waits_for_a_slot_ends_at_once_and_never_runs(
        self, tmp_path_factory: pytest.TempPathFactory, database: Database, how: How
    ) -> None:
        async with world(tmp_path_factory.mktemp("full")) as here, stage(here, database, 1) as on:
            here.executor(LEKHIKA_SLOTS="2")
            running = marked()
            first = await on.start(one_call(running, SLOW), running)
            await on.streaming(running)
            waiting = [marked() for _ in range(3)]
            keys = [await on.start(one_call(mark), mark) for mark in waiting]
            for key in keys[:2]:
                assert (await on.stop(key, how)).json()["status"] == "stopped"
            await on.stop(first)
            assert (await here.ended(keys[2])).status is Status.COMPLETED
            for key, mark in zip(keys[:2], waiting[:2], strict=True):
                await on.stopped(key, mark)
                assert await here.calls(mark) == []


class TestItRuns:
    @EVERY_WAY
    async def test_between_nodes(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(chain(mark, 40, "first_ms=0 words=3 chunks=1"), mark)
        await on.here.heard(key, "node_completed", "n2")
        answer = await on.stop(key, how)
        assert answer.json()["status"] in ("stopping", "stopped")
        state = await on.stopped(key, mark)
        done = [node for node in state.nodes.values() if node.usage and state.completed(node.id)]
        assert state.tokens.output >= sum(u.tokens.output for node in done for u in node.usage) > 0

    @EVERY_WAY
    async def test_before_the_first_chunk(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(one_call(mark, "first_ms=60000"), mark)
        await on.here.ask("/admin/wait", contains=mark, calls=1, timeout=20)
        await on.stop(key, how)
        state = await on.stopped(key, mark)
        assert state.tokens.certainty is Certainty.UNKNOWN  # nobody has told what the prompt cost

    @EVERY_WAY
    async def test_between_chunks(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(one_call(mark, SLOW), mark)
        await on.streaming(mark)
        answer = await on.stop(key, how)
        assert answer.json()["status"] in (("stopping", "stopped") if how is How.PLAIN else ("stopped",))
        check_kept(await on.stopped(key, mark))

    @EVERY_WAY
    async def test_inside_a_loop_with_several_calls_open(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(loop(mark, 20, SLOW, concurrency=8), mark)
        await on.streaming(mark, 8)
        await on.stop(key, how)
        state = await on.stopped(key, mark)
        check_kept(state)
        assert len(state.partials) == len(await on.here.calls(mark)) == 8

    @EVERY_WAY
    async def test_during_the_wait_for_a_retry(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(one_call(mark, "fault=status_429 delay_s=60 first_ms=0"), mark)
        await on.here.ask("/admin/wait", contains=mark, closed=1, timeout=20)
        await on.stop(key, how)
        await on.stopped(key, mark)
        assert len(await on.here.calls(mark)) == 1

    @EVERY_WAY
    async def test_after_the_end_it_says_how_it_ended(self, on: Stage, how: How) -> None:
        mark = marked()
        key = await on.start(one_call(mark, "words=3"), mark)
        await on.here.ended(key)
        answer = await on.stop(key, how)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
        await on.stopped(key, mark, ("completed",))

    async def test_many_at_once_from_two_gateways_have_one_answer_and_one_end(self, on: Stage) -> None:
        for _ in range(5):
            mark = marked()
            key = await on.start(one_call(mark, SLOW), mark)
            await on.streaming(mark)
            asked = [
                on.stop(key, how, by) for how in (How.PLAIN, How.PLAIN, How.BY_ADMIN) for by in (0, 1, 0, 1)
            ]
            answers = await all_at_once(*asked)
            assert {answer.status_code for answer in answers} <= {200, 202}
            state = await on.stopped(key, mark)
            kinds = Counter(r.event.type for r in await on.here.history(key))
            assert kinds["stop_requested"] <= 2  # the second one only adds force
            for answer in answers:
                assert answer.json()["stop"]["at"] == state.stop.model_dump(mode="json")["at"]  # type: ignore[union-attr]


class TestTheSignalIsMissed:
    @pytest.fixture
    async def cabled(
        self, tmp_path_factory: pytest.TempPathFactory, database: Database
    ) -> AsyncIterator[tuple[Stage, Any]]:
        """An executor whose connections run through a cable of ours."""
        async with (
            world(tmp_path_factory.mktemp("cabled"), apart=True) as here,
            cable(here.server.url_for("executor")) as wire,
            stage(here, database, 1) as on,
        ):
            here.executor(NATS_URL=wire.url)
            yield on, wire

    async def _found(self, on: Stage, key: str, mark: str, seconds: float) -> None:
        began = time.time()
        answer = await on.stop(key)
        assert answer.json()["status"] == "stopping"
        state = await on.stopped(key, mark)
        assert state.ended_at is not None
        assert state.ended_at.timestamp() - began < seconds
        check_kept(state)

    async def test_one_whose_signals_do_not_come_through_is_found_by_asking(
        self, cabled: tuple[Stage, Any]
    ) -> None:
        on, wire = cabled
        mark = marked()
        key = await on.start(one_call(mark, SLOW), mark)
        await on.streaming(mark)
        wire.hold("executor .+")  # the connection of its signals; the one for its work has no id in its name
        await self._found(on, key, mark, 1.5)

    async def test_one_that_comes_while_it_is_cut_off_is_found_when_it_is_back(
        self, cabled: tuple[Stage, Any]
    ) -> None:
        on, wire = cabled
        for _ in range(5):
            mark = marked()
            key = await on.start(one_call(mark, SLOW), mark)
            await on.streaming(mark)
            wire.cut()
            await self._found(on, key, mark, 2.5)
