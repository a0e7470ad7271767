"""Small decisions of the executor: slots, retries, limits, and which answers are good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.intake import shares
from services.executor.limits import exceeded, out_of_time
from services.executor.models.answer import Accepted, Answer
from services.executor.models.provider import Finish, ModelError, ModelRequest
from services.executor.retry import CAP_SECONDS, MAX_TRIES, Retries, Room, next_delay
from services.executor.tries import CONTINUATIONS, FALLBACK_AFTER, Tries
from shared.workflow import Limits
from tests.support.judging import judged, kept
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


REQUEST = ModelRequest(model="m", prompt="p")
STRUCTURED = ModelRequest(
    model="m",
    prompt="p",
    output_schema={"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
)


def error(code: str = "quota", **more: object) -> ModelError:
    return ModelError(code, "x", **{"retryable": True, **more})  # type: ignore[arg-type]


def delay_of(
    failed: ModelError, tries: int, chance: float = 0.5, *, budget: int = 9, seconds: float = 1e9
) -> float | None:
    return next_delay(failed, tries, chance, Room(budget=budget, seconds=seconds))


def test_the_providers_own_delay_is_honoured() -> None:
    for chance in (0.0, 0.5, 0.999):
        assert 39.0 <= (delay_of(error(delay=39.0), 1, chance) or 0) <= 43.0


def test_a_delay_that_proves_too_short_is_made_longer() -> None:
    assert (delay_of(error(delay=0.0), 1, 0.999) or 99) < 1
    assert (delay_of(error(delay=0.0, free=True), 12, 0.999) or 0) > CAP_SECONDS * 0.9
    assert (delay_of(error(delay=39.0, free=True), 12, 0.0) or 0) == 39


def test_what_would_be_tried_again_only_after_the_time_is_over_fails_at_once() -> None:
    assert delay_of(error(delay=3_600.0, free=True), 1, seconds=600) is None
    assert delay_of(error(delay=60.0, free=True), 1, seconds=600) is not None
    assert delay_of(error(free=True), 20, 0.999, seconds=5) is None


def test_what_will_fail_again_is_not_tried_again() -> None:
    assert delay_of(error(retryable=False), 1) is None
    assert delay_of(error("provider_unreachable"), MAX_TRIES) is None
    assert delay_of(error("provider_unreachable"), 1, budget=0) is None


CODES = st.sampled_from(["quota", "overloaded"])


@given(tries=st.integers(1, 10_000), code=CODES)
def test_a_refusal_that_costs_nothing_is_repeated_while_there_is_time(tries: int, code: str) -> None:
    assert delay_of(error(code, free=True), tries, budget=0) is not None
    assert (delay_of(error(code, delay=90.0, free=True), tries, budget=0) or 0) >= 90


@given(tries=st.integers(MAX_TRIES, 10_000), code=CODES)
def test_what_may_have_cost_something_has_an_end_whatever_its_code(tries: int, code: str) -> None:
    assert delay_of(error(code, used=True, free=True), tries) is None
    begun = error(code, free=True)
    begun.has_cost()
    assert delay_of(begun, tries) is None
    assert delay_of(begun, 1, budget=0) is None


def test_only_what_may_have_cost_something_is_taken_from_the_budget() -> None:
    retries = Retries(5)
    for free in (True, True, False, False):
        retries.spend(error("overloaded", free=free))
    assert retries.left == 3


@given(tries=st.integers(1, MAX_TRIES - 1), chance=st.floats(0, 0.999))
def test_waits_grow_and_are_bounded(tries: int, chance: float) -> None:
    delay = delay_of(error("provider_unreachable"), tries, chance)
    assert delay is not None
    assert 0 <= delay <= CAP_SECONDS


def failed(
    tries: Tries, given_error: ModelError, text: str = "", seconds: float = 1e9, down: tuple[str, ...] = ()
) -> float:
    return tries.failed(given_error, text, 0.5, Room(budget=9, seconds=seconds), down.__contains__)


def test_a_broken_structured_answer_is_asked_for_once_more_with_the_error() -> None:
    tries = Tries(asked=STRUCTURED)
    assert failed(tries, error("schema_mismatch"), '{"b"') == 0
    assert (tries.request.prompt, tries.request.said) == ("p", '{"b"')
    assert "x" in tries.request.then
    with pytest.raises(ModelError):
        failed(tries, error("schema_mismatch"), "{}")


def test_a_truncated_answer_is_continued_where_it_ends_and_not_without_end() -> None:
    tries = Tries(asked=REQUEST, continue_truncated=True)
    text = ""
    for _ in range(CONTINUATIONS):
        text += "more "
        assert tries.goes_on(Accepted(text=text, truncated=True))
        assert tries.request.said == text
    assert not tries.may_go_on(text + "end")
    assert not tries.goes_on(Accepted(text=text + "end", truncated=True))


def taken(tries: Tries, text: str, finish: Finish = Finish.TRUNCATED) -> bool:
    """As a node takes an answer. Raises: ModelError."""
    return tries.goes_on(judged(tries.asked, answer(text, finish), may_go_on=tries.may_go_on(text)))


def test_a_cut_structured_answer_whose_continuation_adds_nothing_is_at_the_token_limit() -> None:
    tries = Tries(asked=STRUCTURED, continue_truncated=True)
    assert taken(tries, '{"a": "x')
    with pytest.raises(ModelError) as refused:
        taken(tries, '{"a": "x')
    assert refused.value.code == "token_limit"
    assert kept(tries) is None


def test_a_cut_structured_answer_is_not_kept_when_its_continuation_fails_for_good() -> None:
    tries = Tries(asked=STRUCTURED, continue_truncated=True)
    assert taken(tries, '{"a": "x')
    with pytest.raises(ModelError):
        failed(tries, error("answer_blocked", retryable=False))
    assert kept(tries) is None
    tries = Tries(asked=STRUCTURED, continue_truncated=True)
    assert taken(tries, '{"a": "x"}')
    assert kept(tries) == Accepted(text='{"a": "x"}', truncated=True)


def test_a_corrected_answer_that_is_cut_and_breaks_its_schema_again_is_not_kept() -> None:
    tries = Tries(asked=STRUCTURED, continue_truncated=True)
    assert failed(tries, error("schema_mismatch"), "{}") == 0
    assert taken(tries, '{"a": ')
    with pytest.raises(ModelError):
        failed(tries, error("schema_mismatch"), '{"a": 1}')
    assert kept(tries) is None


def test_a_text_whose_continuation_fails_for_good_is_kept_as_it_was() -> None:
    tries = Tries(asked=REQUEST, continue_truncated=True)
    assert kept(tries) is None
    assert taken(tries, "half")
    assert kept(tries) == Accepted(text="half", truncated=True)


def test_a_truncated_answer_is_kept_as_it_is_unless_the_node_asks_for_more() -> None:
    assert not Tries(asked=REQUEST).goes_on(Accepted(text="a", truncated=True))
    tries = Tries(asked=REQUEST, continue_truncated=True)
    assert not tries.goes_on(Accepted(text="a", truncated=False))
    assert tries.goes_on(Accepted(text="a", truncated=True))
    assert not tries.goes_on(Accepted(text="a", truncated=True))  # the call added nothing


def test_the_fallback_model_is_asked_when_the_other_stays_away() -> None:
    tries = Tries(asked=REQUEST, fallback="other")
    for _ in range(FALLBACK_AFTER - 1):
        failed(tries, error("overloaded"))
        assert tries.request.model == "m"
    assert failed(tries, error("overloaded")) == 0
    assert tries.request.model == "other"
    for code, more in (("model_not_found", {"retryable": False}), ("quota", {"delay": 60.0})):
        tries = Tries(asked=REQUEST, fallback="other")
        assert failed(tries, error(code, **more)) == 0
        assert tries.request.model == "other"
        with pytest.raises(ModelError):
            failed(tries, error("model_not_found", retryable=False))


def test_the_fallback_model_is_asked_when_the_other_stays_away_longer_than_there_is_time() -> None:
    tries = Tries(asked=REQUEST, fallback="other")
    assert failed(tries, error(delay=20.0, free=True), seconds=10) == 0
    assert tries.request.model == "other"


def test_nobody_falls_back_on_a_model_that_is_down_too() -> None:
    tries = Tries(asked=REQUEST, fallback="other")
    tries.choose(("m", "other").__contains__)
    assert tries.request.model == "m"
    for _ in range(FALLBACK_AFTER + 1):
        failed(tries, error("overloaded", free=True), down=("other",))
    assert tries.request.model == "m"
    tries.choose(("m",).__contains__)
    assert tries.request.model == "other"


def test_the_own_model_is_asked_again_when_the_fallback_is_down_and_it_is_not() -> None:
    tries = Tries(asked=REQUEST, fallback="other")
    tries.choose(("m",).__contains__)
    tries.choose(("m", "other").__contains__)
    assert tries.request.model == "other"
    tries.choose(("other",).__contains__)
    assert tries.request.model == "m"
    failed(
        tries, error("model_not_found", retryable=False), down=("other",)
    )  # whatever it is, it is all there is
    assert tries.request.model == "other"
    tries.choose(("other",).__contains__)
    assert tries.request.model == "other"


def test_running_out_of_time_says_what_was_waited_for() -> None:
    assert out_of_time(60, {}) == "limit of 60 seconds reached"
    assert out_of_time(60, {"a": "quota: x"}) == "limit of 60 seconds reached while a waited (quota: x)"


def test_reaching_a_limit_says_which() -> None:
    state = folded(
        history(requested(limits=Limits(tokens=20, output_bytes=100)), started(), node_completed("a"))
    )
    assert exceeded(state, [], 10) is None
    assert "20 tokens" in (exceeded(state, [usage(output=1)], 10) or "")
    assert "100 bytes" in (exceeded(state, [], 101) or "")


def answer(text: str = "fine", finish: Finish | None = Finish.COMPLETE, block: str | None = None) -> Answer:
    return Answer(
        text=text,
        model="m",
        tokens=None,
        finish=finish,
        finish_reason=finish and finish.name,
        block_reason=block,
        response_id=None,
    )


@pytest.mark.parametrize("finish", [Finish.COMPLETE, Finish.TRUNCATED, Finish.OTHER])
def test_text_with_any_ordinary_ending_is_accepted(finish: Finish) -> None:
    accepted = judged(REQUEST, answer(finish=finish))
    assert (accepted.text, accepted.truncated) == ("fine", finish is Finish.TRUNCATED)


@pytest.mark.parametrize(
    ("given_answer", "code", "retryable"),
    [
        (answer("", None, "SAFETY"), "prompt_blocked", False),
        (answer("some", None, "SAFETY"), "answer_blocked", False),
        (answer("some", Finish.BLOCKED), "answer_blocked", False),
        (answer("", Finish.BLOCKED), "answer_blocked", False),
        (answer("some", None), "provider_unreachable", True),
        (answer("", Finish.TRUNCATED), "token_limit", False),
        (answer("", Finish.COMPLETE), "no_content", False),
        (answer(" \n", Finish.OTHER), "no_content", False),
    ],
)
def test_each_refusal_has_its_code(given_answer: Answer, code: str, retryable: bool) -> None:
    with pytest.raises(ModelError) as refused:
        judged(REQUEST, given_answer)
    assert (refused.value.code, refused.value.retryable) == (code, retryable)


def test_structured_output_must_follow_its_schema() -> None:
    assert judged(STRUCTURED, answer('{"a": "x"}')).text == '{"a": "x"}'
    for text in ('{"a": 1}', "{", "null"):
        with pytest.raises(ModelError) as refused:
            judged(STRUCTURED, answer(text))
        assert (refused.value.code, refused.value.retryable) == ("schema_mismatch", True)
    with pytest.raises(ModelError) as cut:
        judged(STRUCTURED, answer('{"a": ', Finish.TRUNCATED))
    assert cut.value.code == "token_limit"
    assert judged(STRUCTURED, answer('{"a": ', Finish.TRUNCATED), may_go_on=True).truncated
