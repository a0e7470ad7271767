"""Small decisions of the executor: slots, retries, limits, and which answers are good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.intake import shares
from services.executor.limits import exceeded
from services.executor.models.answer import BLOCKED, Answer, judge
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.retry import CAP_SECONDS, MAX_TRIES, next_delay
from shared.workflow import Limits
from tests.support.make import folded, history, node_completed, requested, started, usage

COUNTS = st.integers(0, 60)


@given(slots=st.integers(1, 60), now=COUNTS, later=COUNTS)
def test_what_is_asked_for_and_what_runs_never_exceed_the_slots(slots: int, now: int, later: int) -> None:
    for_now, for_later = shares(slots, now=now, later=later)
    assert for_now >= 0
    assert for_later >= 0
    if now + later <= slots:
        assert now + later + max(for_now, for_later) <= slots


@given(slots=st.integers(2, 60))
def test_later_never_gets_more_than_four_fifths_and_now_leaves_it_a_share(slots: int) -> None:
    assert shares(slots, now=0, later=0)[1] <= slots * 4 / 5 + 1
    assert shares(slots, now=0, later=0)[0] < slots
    busy_with_now = shares(slots, now=slots - max(1, slots // 10), later=0)
    assert busy_with_now[0] == 0
    assert busy_with_now[1] >= 1


def test_who_has_slots_of_both_lanes_has_four_fifths_in_all_but_later_keeps_its_share() -> None:
    assert shares(50, now=8, later=20, both=8)[1] == 12
    assert shares(50, now=8, later=32, both=8)[1] == 0
    assert shares(10, now=8, later=0, both=8)[1] == 1


def error(**more: object) -> ModelError:
    return ModelError("quota", "x", **{"retryable": True, **more})  # type: ignore[arg-type]


def test_the_providers_own_delay_is_honoured() -> None:
    delay = next_delay(error(delay=39.0), 1, 0.5)
    assert delay is not None
    assert 39.0 <= delay <= 40.0


def test_what_will_fail_again_is_not_tried_again() -> None:
    assert next_delay(error(retryable=False), 1, 0.5) is None
    assert next_delay(error(), MAX_TRIES, 0.5) is None


@given(tries=st.integers(1, MAX_TRIES - 1), chance=st.floats(0, 0.999))
def test_waits_grow_and_are_bounded(tries: int, chance: float) -> None:
    delay = next_delay(error(), tries, chance)
    assert delay is not None
    assert 0 <= delay <= CAP_SECONDS


def test_reaching_a_limit_says_which() -> None:
    state = folded(
        history(requested(limits=Limits(tokens=20, output_bytes=100)), started(), node_completed("a"))
    )
    assert exceeded(state, [], 10) is None
    assert "20 tokens" in (exceeded(state, [usage(output=1)], 10) or "")
    assert "100 bytes" in (exceeded(state, [], 101) or "")


REQUEST = ModelRequest(model="m", prompt="p")
STRUCTURED = ModelRequest(
    model="m",
    prompt="p",
    output_schema={"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
)


def answer(text: str = "fine", finish: str | None = "STOP", block: str | None = None) -> Answer:
    return Answer(
        text=text, model="m", tokens=None, finish_reason=finish, block_reason=block, response_id=None
    )


@pytest.mark.parametrize("finish", ["STOP", "MAX_TOKENS", "OTHER", "A_REASON_OF_NEXT_YEAR"])
def test_text_with_any_ordinary_ending_is_accepted(finish: str) -> None:
    accepted = judge(REQUEST, answer(finish=finish))
    assert (accepted.text, accepted.truncated) == ("fine", finish == "MAX_TOKENS")


@pytest.mark.parametrize("finish", sorted(BLOCKED))
def test_a_blocked_answer_is_refused_with_its_reason_also_after_text(finish: str) -> None:
    with pytest.raises(ModelError, match=finish) as refused:
        judge(REQUEST, answer(finish=finish))
    assert refused.value.code == "answer_blocked"


@pytest.mark.parametrize(
    ("given_answer", "code", "retryable"),
    [
        (answer("", None, "SAFETY"), "prompt_blocked", False),
        (answer("some", None), "provider_unreachable", True),
        (answer("", "MAX_TOKENS"), "token_limit", False),
        (answer("", "STOP"), "no_content", False),
    ],
)
def test_each_refusal_has_its_code(given_answer: Answer, code: str, retryable: bool) -> None:
    with pytest.raises(ModelError) as refused:
        judge(REQUEST, given_answer)
    assert (refused.value.code, refused.value.retryable) == (code, retryable)


def test_structured_output_must_follow_its_schema() -> None:
    assert judge(STRUCTURED, answer('{"a": "x"}')).text == '{"a": "x"}'
    for text in ('{"a": 1}', "{", "null"):
        with pytest.raises(ModelError) as refused:
            judge(STRUCTURED, answer(text))
        assert (refused.value.code, refused.value.retryable) == ("schema_mismatch", True)
    with pytest.raises(ModelError) as cut:
        judge(STRUCTURED, answer('{"a": ', "MAX_TOKENS"))
    assert cut.value.code == "token_limit"
