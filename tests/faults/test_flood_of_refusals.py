"""Ten executors ask for more than the provider's limit: nothing fails that has time left, and the limit is kept."""

import json
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.execution import ExecutionState, Status
from shared.ids import new_id
from tests.support import world as worlds
from tests.support.definitions import one
from tests.support.world import World, world

EXECUTORS = 10
PER_MINUTE = 240
UNLIMITED, LIMITED, COUNTED = "gemini-3.7-flash", "gemini-3.6-flash", "gemini-3.5-flash"
TOKENS_PER_MINUTE, TOKENS = 300_000, 5_000
LIMITS = {LIMITED: {"requests_per_minute": PER_MINUTE}, COUNTED: {"tokens_per_minute": TOKENS_PER_MINUTE}}


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("flood"), apart=True) as made:
        for _ in range(EXECUTORS):
            made.executor(LEKHIKA_MODEL_LIMITS=json.dumps(LIMITS))
        await made.living(EXECUTORS)
        yield made


async def flood(
    here: World, model: str, count: int, options: str = f"rpm={PER_MINUTE}", **node: Any
) -> tuple[list[ExecutionState], list[dict[str, Any]]]:
    """The ends of so many executions of one call each, and the calls that the provider saw."""
    mark = new_id()
    prompt = f"{mark} [[standin {options} words=5 chunks=2]]"
    keys = [await here.request(one(prompt, model=model, **node)) for _ in range(count)]
    states = [await here.ended(key) for key in keys]
    calls: list[dict[str, Any]] = []
    while rows := (
        await here.ask("/admin/ledger", contains=mark, after=calls[-1]["seq"] if calls else 0, limit=1000)
    )["items"]:
        calls += rows
    return states, calls


def most_in_a_minute(calls: list[dict[str, Any]]) -> int:
    times = sorted(int(str(call["received_ns"])) / 1e9 for call in calls)
    return max(bisect_left(times, begin + 60) - first for first, begin in enumerate(times))


async def test_a_flood_of_refusals_with_delays_fails_nothing_that_has_time_left(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "SECONDS", 300.0)
    states, calls = await flood(here, UNLIMITED, int(PER_MINUTE * 1.5))
    assert {state.status for state in states} == {Status.COMPLETED}
    refused = [call for call in calls if call["status"] == 429]
    print(f"{len(calls)} calls, of which {len(refused)} were refused")
    assert refused


async def test_with_its_limit_known_the_fleet_never_exceeds_it_by_more_than_five_percent(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "SECONDS", 300.0)
    states, calls = await flood(here, LIMITED, int(PER_MINUTE * 1.5))
    assert {state.status for state in states} == {Status.COMPLETED}
    most = most_in_a_minute(calls)
    refused = sum(call["status"] == 429 for call in calls)
    print(f"{len(calls)} calls, at most {most} of {PER_MINUTE} in a minute, {refused} refused")
    assert most <= PER_MINUTE * 1.05
    times = sorted(int(str(call["received_ns"])) / 1e9 for call in calls)
    assert len(calls) / (times[-1] - times[0]) >= PER_MINUTE / 60 * 0.95  # and none of it is wasted


async def test_tokens_per_minute_are_kept_also_where_answers_and_thoughts_are_long(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "SECONDS", 300.0)
    count = int(TOKENS_PER_MINUTE / TOKENS * 1.5)
    options = f"output_tokens={TOKENS * 3 // 5} thoughts={TOKENS * 2 // 5}"
    states, calls = await flood(here, COUNTED, count, options, max_tokens=TOKENS)
    assert {state.status for state in states} == {Status.COMPLETED}
    assert len(calls) == count
    begun = sorted((int(call["received_ns"]) / 1e9, int(call["tokens"]["total"])) for call in calls)
    most = max(sum(n for at, n in begun[first:] if at < begin + 60) for first, (begin, _) in enumerate(begun))
    seconds = begun[-1][0] - begun[0][0]
    print(f"{len(calls)} calls in {seconds:.0f} s, at most {most} of {TOKENS_PER_MINUTE} tokens in a minute")
    assert most <= TOKENS_PER_MINUTE * 1.05 + TOKENS
    assert sum(n for _, n in begun) / seconds >= TOKENS_PER_MINUTE / 60 * 0.9
