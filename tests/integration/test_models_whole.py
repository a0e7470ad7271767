"""Model calls of both providers through the whole executor: what ends how, what is asked again, what a viewer sees."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import pytest

from shared import deltas, subjects
from shared.events import NodeStarted
from shared.execution import ExecutionState, Status
from shared.ids import new_id
from shared.lost import read_deltas, text_of
from shared.usage import Certainty
from tests.support.definitions import one
from tests.support.make import MODEL
from tests.support.world import World, world

CHAT = "openai/some-model"
SLOW = "gemini-3.5-flash"
SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
BOTH = pytest.mark.parametrize("model", [MODEL, CHAT])


@pytest.fixture(scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("models")) as made:
        made.executor(
            OPENAI_BASE_URL=f"{made.standin_url}/v1",
            LEKHIKA_MODEL_LIMITS='{"gemini-3.5-flash": {"requests_per_minute": 1}}',
        )
        await made.living(1)
        yield made


def counted(state: ExecutionState) -> dict[str, int]:
    return {kind: count for kind, count in asdict(state.tokens).items() if kind != "certainty"}


async def used(here: World, mark: str) -> dict[str, int]:
    calls = await here.calls(mark)
    kinds = ("input", "cached", "output", "thoughts", "tool")
    return {kind: sum(call["tokens"][kind] for call in calls) for kind in kinds}


async def run(here: World, mark: str, options: str, **node: Any) -> ExecutionState:
    definition = one(f"{mark} [[standin {options} id={mark}]]", **node)
    return await here.ended(await here.request(definition))


ENDS = [
    *[("fault=" + name, "answer_blocked") for name in ("safety", "recitation", "language", "spii")],
    ("fault=prompt_blocked", "prompt_blocked"),
    ("fault=empty", "no_content"),
    ("fault=max_tokens_thoughts", "token_limit"),
    ("fault=status_400", "provider_refused"),
    ("fault=status_401", "bad_api_key"),
    ("fault=status_403", "bad_api_key"),
    ("fault=status_404", "model_not_found"),
    *[
        (f"{fault} times=1", "")
        for fault in ("fault=cut", "fault=no_finish", "fault=reset", "fault=error_in_stream")
    ],
    *[(f"fault=status_{status} times=1", "") for status in (408, 429, 500, 502, 503, 504)],
    ("fault=bad_json_line times=1", ""),
    ("fault=unknown_reason", ""),
    ("fault=empty_last", ""),
    ("usage=none", ""),
]


@BOTH
async def test_every_ending_comes_through_with_its_code_and_its_tokens(here: World, model: str) -> None:
    async def check(options: str, code: str) -> None:
        mark = new_id()
        state = await run(here, mark, f"delay_s=0.1 {options}", model=model)
        assert state.anomalies == ()
        if code:
            assert state.status is Status.FAILED, options
            assert state.error is not None
            assert (state.error.code, state.error.node) == (code, "text"), options
            assert len(await here.calls(mark)) == 1, options
        else:
            assert state.status is Status.COMPLETED, (options, state.error)
            assert len(await here.calls(mark)) == (2 if "times" in options else 1), options
        if state.tokens.certainty is not Certainty.UNKNOWN and "_line" not in options:
            assert counted(state) == await used(here, mark), options

    await asyncio.gather(*(check(options, code) for options, code in ENDS))


@BOTH
async def test_a_truncated_answer_is_continued_call_by_call(here: World, model: str) -> None:
    mark = new_id()
    options = "fault=max_tokens times=2 words=12"
    definition = one(f"{mark} [[standin {options} id={mark}]]", model=model, continue_truncated=True)
    key = await here.request(definition)
    state = await here.ended(key)
    calls = await here.calls(mark)
    assert len(calls) == 3
    assert sum(isinstance(r.event, NodeStarted) for r in await here.history(key)) == 3
    node = state.nodes["text"]
    assert node.output is not None
    assert node.output.text == "".join(call["text_sent"] for call in calls)
    assert not node.truncated
    assert counted(state) == await used(here, mark)
    assert state.tokens.certainty is Certainty.MEASURED
    for call, before in zip(calls[1:], calls, strict=False):
        assert before["text_sent"] in call["prompt"]


async def test_the_pieces_of_a_continued_answer_make_up_its_whole_text(here: World) -> None:
    mark = new_id()
    options = f"fault=max_tokens times=1 words=12 id={mark}"
    slow = f"{mark} [[standin {options}]] [[standin match=length chunks=100 chunk_ms=30]]"
    key = await here.request(one(slow, continue_truncated=True))
    await here.heard(key, "node_started", "text")
    await here.ask("/admin/wait", contains=mark, streaming=2, timeout=20)
    await here.writing(key, "text")
    heard = [each for each in await read_deltas(here.nc, key) if each.node_attempt == 2]
    first, second = await here.calls(mark)
    assert text_of(heard).startswith(first["text_sent"])
    assert len(text_of(heard)) > len(first["text_sent"])
    await here.stop(key)
    state = await here.ended(key)
    (partial,) = state.partials
    assert (partial.output.text or "").startswith(first["text_sent"])
    assert second["closed_by"] != "server"


@BOTH
async def test_a_broken_structured_answer_is_asked_for_once_more_with_the_error(
    here: World, model: str
) -> None:
    mark = new_id()
    state = await run(here, mark, "fault=broken_schema times=1", model=model, output_schema=SCHEMA)
    assert state.status is Status.COMPLETED
    first, second = await here.calls(mark)
    assert first["text_sent"] in second["prompt"]
    assert "does not follow" in second["prompt"]
    assert counted(state) == await used(here, mark)
    mark = new_id()
    state = await run(here, mark, "fault=broken_schema", model=model, output_schema=SCHEMA)
    assert state.error is not None
    assert state.error.code == "schema_mismatch"
    assert len(await here.calls(mark)) == 2


async def test_a_stop_in_mid_call_of_an_openai_endpoint_keeps_its_text_and_says_that_its_usage_is_unknown(
    here: World,
) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin chunk_ms=50 chunks=200]]", model=CHAT))
    await here.writing(key, "text")
    await here.stop(key)
    state = await here.ended(key)
    assert state.status is Status.STOPPED
    (call,) = await here.calls(mark)
    assert call["closed_by"] in ("client", "client_reset")
    (partial,) = state.partials
    assert partial.output.characters > 0
    assert call["text_sent"].startswith(partial.output.text)
    assert state.tokens.certainty is Certainty.UNKNOWN


async def test_a_fallback_model_answers_for_one_that_is_not_there(here: World) -> None:
    definition = {**one(f"{new_id()}", model="openai/missing"), "fallback_model": MODEL}
    state = await here.ended(await here.request(definition))
    assert state.status is Status.COMPLETED
    assert (state.nodes["text"].model, state.nodes["text"].attempts) == (MODEL, 2)


async def test_a_viewer_sees_what_a_node_waits_for_and_how_long(here: World) -> None:
    mark = new_id()
    key = await here.request(one(f"{mark} [[standin fault=status_429 delay_s=40]]"))
    subscription = await here.nc.subscribe(subjects.deltas(key))
    delta = deltas.decode((await subscription.next_msg(timeout=20)).data)
    assert delta is not None
    assert delta.waiting is not None
    assert delta.waiting.reason == "quota"
    assert 40 <= delta.waiting.seconds <= 45
    await here.stop(key)
    assert (await here.ended(key)).status is Status.STOPPED


async def test_who_waits_for_its_turn_is_seen_waiting_and_stops_at_once_without_a_call(here: World) -> None:
    mark = new_id()
    assert (await run(here, mark, "words=5", model=SLOW)).status is Status.COMPLETED
    seen = await here.nc.subscribe(subjects.deltas("*"))
    key = await here.request(one(f"{mark} [[standin words=5]]", model=SLOW))
    waiting = None
    while waiting is None:
        msg = await seen.next_msg(timeout=30)
        delta = deltas.decode(msg.data)
        waiting = delta.waiting if delta is not None and subjects.execution_of(msg.subject) == key else None
        if waiting is None and (await here.state(key)).ended:
            pytest.fail("it did not wait")
    assert waiting.reason == "rate_limit"
    await here.stop(key)
    state = await here.ended(key)
    assert state.status is Status.STOPPED
    assert state.nodes == {}
    assert len(await here.calls(mark)) == 1
