"""The calls of one node: what they lead to in the log, and when they may begin."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.executor.models import circuit
from services.executor.models.circuit import FAILURES
from services.executor.models.gate import FRESH_SECONDS, Gate
from services.executor.models.provider import Caller, Finish, ModelError, ModelRequest, Piece
from services.executor.nodes.generate import LATE_TURNS
from shared.events import NodeCompleted, NodeStarted, Recorded
from shared.execution import Status
from shared.usage import Tokens
from shared.workflow import Limits
from tests.support.alone import ran
from tests.support.definitions import one
from tests.support.make import MODEL

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
STRUCTURED = one("x", output_schema=SCHEMA, continue_truncated=True)


class Says:
    """Answers with these texts, one a call and the last again and again; whether each is cut, or an error."""

    def __init__(self, *answers: tuple[str, bool] | ModelError) -> None:
        self.answers = list(answers)
        self.requests: list[ModelRequest] = []

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ModelError):
            raise answer
        text, cut = answer
        finish = Finish.TRUNCATED if cut else Finish.COMPLETE
        caller.receive(Piece(text=text, tokens=Tokens(input=1, output=2), finish=finish))


def kinds(history: list[Recorded], kind: type) -> int:
    return sum(isinstance(recorded.event, kind) for recorded in history)


@pytest.mark.parametrize(
    ("answers", "code", "calls"),
    [
        ((('{"a": "x', True), ("", True)), "token_limit", 2),
        ((('{"a": "x', True),), "token_limit", 6),
        ((('{"a": "x', True), ModelError("answer_blocked", "x")), "answer_blocked", 2),
        ((("{}", False), ('{"a": ', True), ("1}", False)), "schema_mismatch", 3),
    ],
    ids=["adds nothing", "never ends", "fails for good", "breaks the schema again"],
)
async def test_a_structured_node_is_never_completed_with_what_does_not_follow_its_schema(
    answers: tuple[tuple[str, bool] | ModelError, ...], code: str, calls: int
) -> None:
    provider = Says(*answers)
    state, history = await ran(provider, STRUCTURED)
    assert kinds(history, NodeCompleted) == 0
    assert state.status is Status.FAILED
    assert state.error is not None
    assert (state.error.code, len(provider.requests)) == (code, calls)


async def test_a_structured_answer_that_is_whole_after_its_continuation_completes() -> None:
    state, _ = await ran(Says(('{"a": ', True), ('"x"}', False)), STRUCTURED)
    assert state.status is Status.COMPLETED
    assert state.nodes["text"].structured


async def test_the_tokens_of_a_node_are_those_of_all_its_calls() -> None:
    state, _ = await ran(Says(("a", True), ("b", True), ("c", False)), one("x", continue_truncated=True))
    node = state.nodes["text"]
    assert sum(usage.tokens.output for usage in (*node.usage, *node.spent)) == state.tokens.output == 6


class Turns:
    """Gives these moments as seconds before now, the last again and again."""

    def __init__(self, *ages: float) -> None:
        self.ages = list(ages)

    async def take(self, model: str, tokens: int, tell: object) -> float:
        return time.monotonic() - (self.ages.pop(0) if len(self.ages) > 1 else self.ages[0])

    def used(self, model: str, reserved: int, tokens: int) -> None: ...


@pytest.mark.parametrize(
    ("ages", "announced"),
    [((0.0,), 1), ((FRESH_SECONDS + 1, 0.0), 2), ((FRESH_SECONDS + 1,), LATE_TURNS + 1)],
    ids=["in time", "once late", "always late"],
)
async def test_a_call_whose_turn_is_over_when_it_is_announced_waits_for_another(
    ages: tuple[float, ...], announced: int
) -> None:
    provider, limiter = Says(("fine", False)), Turns(*ages)
    state, history = await ran(provider, one("x"), gate=Gate(limiter))  # type: ignore[arg-type]
    assert state.status is Status.COMPLETED
    assert len(provider.requests) == 1
    assert kinds(history, NodeStarted) == announced
    assert state.anomalies == ()


class Slow:
    """Says a word and goes on only when `enough` says so."""

    def __init__(self, enough: Callable[[], bool]) -> None:
        self.enough = enough

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        caller.receive(Piece(text="word"))
        while not self.enough():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        caller.receive(Piece(finish=Finish.COMPLETE))

    async def aclose(self) -> None: ...


async def test_a_model_is_up_again_with_the_first_word_of_the_probing_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit, "FIRST_SECONDS", 0.01)
    gate, request = Gate(), ModelRequest(model=MODEL, prompt="x")

    async def tell(*_: Any) -> None: ...

    for _ in range(FAILURES):
        ticket = await gate.enter(request, tell)
        assert ticket is not None
        gate.leave(ticket, error=ModelError("overloaded", "x"), answered=False, whole=False, used=0)
    assert gate.down(MODEL)
    state, _ = await ran(Slow(lambda: not gate.down(MODEL)), one("x"), gate=gate)
    assert state.status is Status.COMPLETED


async def test_a_stream_that_breaks_with_a_refusal_each_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(Says):
        async def stream(self, request: ModelRequest, caller: Caller) -> None:
            self.requests.append(request)
            caller.receive(Piece(text="word"))
            raise ModelError("overloaded", "x", retryable=True, delay=0.0, free=True)

    monkeypatch.setattr("services.executor.retry.BASE_SECONDS", 0.0)
    monkeypatch.setattr("services.executor.nodes.generate.random.random", lambda: 0.0)
    provider = Breaks(("", False))
    state, _ = await ran(provider, one("x"), retry_budget=100)
    assert state.error is not None
    assert (state.error.code, len(provider.requests)) == ("overloaded", 6)


async def test_a_wait_beyond_the_time_left_fails_at_once_with_its_cause() -> None:
    provider = Says(ModelError("quota", "x", retryable=True, delay=90_000.0, free=True))
    state, _ = await ran(provider, one("x"))
    assert state.error is not None
    assert (state.error.code, len(provider.requests)) == ("quota", 1)


class Never:
    """Nobody has a turn."""

    async def take(self, model: str, tokens: int, tell: Callable[[float], Awaitable[None]]) -> float:
        await tell(20.0)
        await asyncio.Event().wait()
        raise AssertionError

    def used(self, model: str, reserved: int, tokens: int) -> None: ...


async def test_who_runs_out_of_time_while_a_node_waits_says_for_what() -> None:
    provider, gate = Says(("x", False)), Gate(Never())  # type: ignore[arg-type]
    state, _ = await ran(provider, one("x"), limits=Limits(seconds=1), gate=gate)
    assert state.stop is not None
    assert state.stop.reason == "limit of 1 seconds reached while text waited (rate_limit)"
