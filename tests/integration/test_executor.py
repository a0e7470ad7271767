"""The executor as a process, against real NATS and the real SDK: it runs, stops, retries and hands back."""

import signal
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest

from shared.events import ExecutionStarted, NodeStarted
from shared.execution import ExecutionState, NodeStatus, Status
from shared.ids import new_id
from shared.subjects import later_lane
from shared.usage import Certainty
from tests.support.definitions import book, one
from tests.support.make import MODEL, USER
from tests.support.world import World, world


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world")) as made:
        made.executor()
        yield made


def assert_one_end(state: ExecutionState) -> None:
    assert state.ended
    assert state.anomalies == ()


async def used(here: World, mark: str) -> dict[str, int]:
    """Ground truth: what the provider reported for the calls of a test."""
    sums = dict.fromkeys(("input", "cached", "output", "thoughts", "tool"), 0)
    for call in await here.calls(mark):
        for kind in sums:
            sums[kind] += (call["tokens"] or {}).get(kind, 0)
    return sums


def counted(state: ExecutionState) -> dict[str, int]:
    return {kind: count for kind, count in asdict(state.tokens).items() if kind != "certainty"}


async def test_a_book_is_written_to_its_end_and_every_token_is_counted(here: World) -> None:
    mark = new_id()
    state = await here.ended(await here.request(book(mark)))
    assert state.status is Status.COMPLETED
    assert_one_end(state)
    assert [key for key, node in state.nodes.items() if node.status is NodeStatus.COMPLETED] == list(
        state.nodes
    )
    assert counted(state) == await used(here, mark)
    text = state.nodes["book"].output
    assert text is not None
    for number in range(4):
        part = state.nodes[f"parts/{number}"].output
        assert part is not None
        assert (part.text or "") in (text.text or "")


async def test_a_stop_in_mid_call_closes_the_socket_and_keeps_text_and_usage(here: World) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin chunk_ms=50 chunks=200]]"))
    await here.heard(key, "node_started", "text")
    await here.ask("/admin/wait", contains=mark, streaming=1, timeout=20)
    await here.stop(key)
    state = await here.ended(key)
    assert state.status is Status.STOPPED
    assert_one_end(state)
    (call,) = await here.calls(mark)
    assert call["closed_by"] in ("client", "client_reset")
    assert state.stop is not None
    assert state.stop.heard_at is not None
    assert state.stop.closed_at is not None
    (partial,) = state.partials
    assert call["text_sent"].startswith(partial.output.text)
    assert partial.output.characters > 0
    assert state.tokens.total > 0


async def test_a_stop_inside_a_loop_ends_every_open_call(here: World) -> None:
    mark = new_id()
    key = await here.request(book(mark, "[[standin chunk_ms=50 chunks=200]]"))
    await here.heard(key, "node_started", "parts/3")
    await here.stop(key)
    state = await here.ended(key)
    assert state.status is Status.STOPPED
    calls = [call for call in await here.calls(mark) if "write" in call["prompt"]]
    assert {call["closed_by"] for call in calls} <= {"client", "client_reset"}
    assert state.completed("outline")


async def test_no_model_call_begins_after_a_stop(here: World) -> None:
    mark = new_id()
    key = await here.request(book(mark, "[[standin chunk_ms=50 chunks=200]]"))
    await here.heard(key, "node_started", "parts/0")
    await here.stop(key)
    state = await here.ended(key)
    log = await here.history(key)
    asked = next(r.seq for r in log if r.event.type == "stop_requested")
    assert not [r for r in log if isinstance(r.event, NodeStarted) and r.seq > asked]
    begun = sum(isinstance(r.event, NodeStarted) and r.event.kind == "generate" for r in log)
    assert len(await here.calls(mark)) <= begun
    assert_one_end(state)


async def test_a_stop_during_a_retry_wait_ends_at_once(here: World) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin fault=status_429 delay_s=60]]"))
    await here.heard(key, "node_started", "text")
    await here.ask("/admin/wait", contains=mark, calls=1, closed=1, timeout=20)
    await here.stop(key)
    assert (await here.ended(key)).status is Status.STOPPED


async def test_a_stop_before_the_first_chunk_ends_at_once(here: World) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin first_ms=60000]]"))
    await here.heard(key, "node_started", "text")
    await here.ask("/admin/wait", contains=mark, calls=1, timeout=20)
    await here.stop(key)
    state = await here.ended(key)
    assert state.status is Status.STOPPED
    assert state.tokens.certainty is Certainty.UNKNOWN


async def test_an_overloaded_provider_is_asked_again_after_its_delay(here: World) -> None:
    mark = new_id()
    state = await here.ended(
        await here.request(one(f"{mark} [[standin fault=status_503 times=2 delay_s=0.2]]"))
    )
    assert state.status is Status.COMPLETED
    assert [call["status"] for call in await here.calls(mark)] == [503, 503, 200]
    assert state.nodes["text"].attempts == 3
    assert counted(state) == await used(here, mark)


async def test_an_answer_that_breaks_off_is_tried_again_and_its_tokens_are_not_lost(here: World) -> None:
    mark = new_id()
    state = await here.ended(
        await here.request(one(f"{mark} [[standin fault=cut times=1 after=5 chunks=10]]"))
    )
    assert state.status is Status.COMPLETED
    assert len(await here.calls(mark)) == 2
    assert counted(state) == await used(here, mark)
    assert state.tokens.certainty is Certainty.ESTIMATED


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("prompt_blocked", "prompt_blocked"),
        ("safety", "answer_blocked"),
        ("max_tokens_thoughts", "token_limit"),
        ("empty", "no_content"),
        ("status_400", "provider_refused"),
        ("status_404", "model_not_found"),
    ],
)
async def test_what_can_not_succeed_fails_once_with_its_code(here: World, fault: str, code: str) -> None:
    mark = new_id()
    state = await here.ended(await here.request(one(f"{mark} [[standin fault={fault}]]")))
    assert state.status is Status.FAILED
    assert state.error is not None
    assert (state.error.code, state.error.node) == (code, "text")
    assert len(await here.calls(mark)) == 1
    assert counted(state) == await used(here, mark)


@pytest.mark.parametrize("fault", ["max_tokens", "empty_last", "unknown_reason", "usage_last_only"])
async def test_a_usable_answer_is_never_refused(here: World, fault: str) -> None:
    option = "usage=last" if fault == "usage_last_only" else f"fault={fault}"
    state = await here.ended(await here.request(one(f"{new_id()} [[standin {option}]]")))
    assert state.status is Status.COMPLETED
    assert state.nodes["text"].truncated == (fault == "max_tokens")


async def test_a_broken_template_fails_with_its_node(here: World) -> None:
    definition = {"nodes": [{"id": "t", "kind": "template", "template": "{{ 1 / 0 }}"}], "output": "t"}
    state = await here.ended(await here.request(definition))
    assert state.status is Status.FAILED
    assert state.error is not None
    assert (state.error.code, state.error.node) == ("template_error", "t")


async def test_what_waits_in_a_later_lane_is_run_too(here: World) -> None:
    state = await here.ended(await here.request(one("short"), lane=later_lane(USER)))
    assert state.status is Status.COMPLETED


async def test_a_text_too_large_for_an_event_is_stored_beside_it(here: World) -> None:
    definition = {
        "nodes": [
            {"id": "t", "kind": "template", "template": "{% for i in range(60000) %}é{{ i }}{% endfor %}"}
        ],
        "output": "t",
    }
    state = await here.ended(await here.request(definition))
    assert state.status is Status.COMPLETED
    output = state.nodes["t"].output
    assert output is not None
    assert output.text is None
    assert output.ref is not None


async def test_slots_are_never_exceeded(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with world(tmp_path_factory.mktemp("slots")) as here:
        here.executor(LEKHIKA_SLOTS="4")  # of which one is kept for `later`
        keys = [await here.request(one("n [[standin chunks=5 chunk_ms=10]]")) for _ in range(20)]
        for key in keys:
            assert (await here.ended(key)).status is Status.COMPLETED
        edges = sorted(
            edge
            for call in await here.calls("n ")
            for edge in ((call["received_ns"], 1), (call["closed_ns"], -1))
        )
        open_calls, most = 0, 0
        for _, change in edges:
            open_calls += change
            most = max(most, open_calls)
        assert most == 3
        assert {state.attempt for state in [await here.state(key) for key in keys]} == {1}


async def test_sigterm_hands_everything_back_and_no_finished_node_runs_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with world(tmp_path_factory.mktemp("handback")) as here:
        first = here.executor()
        marks = [new_id() for _ in range(5)]
        keys = [await here.request(book(mark, "[[standin chunk_ms=20 chunks=60]]")) for mark in marks]
        for key in keys:
            await here.heard(key, "node_started", "parts/0")
        second = here.executor()
        assert await first.ended(signal.SIGTERM) == 0
        for key, mark in zip(keys, marks, strict=True):
            state = await here.ended(key)
            assert (state.status, state.attempt) == (Status.COMPLETED, 2)
            plans = [call for call in await here.calls(mark) if "plan" in call["prompt"]]
            assert len(plans) == 1
            assert_one_end(state)
        assert await second.ended(signal.SIGTERM) == 0


async def test_one_of_many_parallel_nodes_that_fails_ends_all_others_once(here: World) -> None:
    mark = new_id()
    nodes = [
        {
            "id": f"n{number}",
            "kind": "generate",
            "model": MODEL,
            "prompt": f"{mark} {number} "
            + (
                "[[standin fault=safety chunks=3 chunk_ms=20]]"
                if number == 5
                else "[[standin chunks=6 chunk_ms=10]]"
            ),
        }
        for number in range(12)
    ]
    for _ in range(3):
        state = await here.ended(await here.request({"nodes": nodes, "output": "n0"}))
        assert (state.status, state.attempt, state.anomalies) == (Status.FAILED, 1, ())
        assert state.error is not None
        assert state.error.node == "n5"
    assert len(await here.calls(mark)) <= 36  # none was made again


async def test_a_template_that_eats_memory_fails_alone(here: World) -> None:
    definition = {
        "nodes": [{"id": "t", "kind": "template", "template": "{{ '%2000000000d' % 1 }}"}],
        "output": "t",
    }
    other = await here.request(one(f"{new_id()} [[standin chunks=40 chunk_ms=20]]"))
    state = await here.ended(await here.request(definition))
    assert state.status is Status.FAILED
    assert state.attempt == 1
    assert (await here.ended(other)).status is Status.COMPLETED


async def test_an_executor_that_lost_its_claim_lets_go_of_the_call(here: World) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin chunk_ms=100 chunks=300]]"))
    await here.writing(key, "text")
    state = await here.state(key)
    await here.log.append(key, ExecutionStarted(attempt=2, instance="another"), state.last_seq)
    await here.ask("/admin/wait", contains=mark, closed=1, timeout=20)
    (call,) = await here.calls(mark)
    assert call["closed_by"] in ("client", "client_reset")
