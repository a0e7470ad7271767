"""A model that is down is not hammered, and comes back by itself."""

import asyncio

import pytest

from services.executor.models import circuit
from services.executor.models.circuit import FAILURES
from services.executor.models.estimate import ANSWER_TOKENS, Estimate
from services.executor.models.gate import Gate, Tell, Ticket
from services.executor.models.provider import ModelError, ModelRequest

REQUEST = ModelRequest(model="m", prompt="x")


async def test_a_model_that_is_down_gets_few_calls_and_everybody_goes_on_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(circuit, "LONGEST_SECONDS", 0.02)
    monkeypatch.setattr(circuit, "PROBE_SECONDS", 0.005)
    gate, back = Gate(), asyncio.Event()
    open_calls, most, calls = 0, 0, 0
    told: set[str] = set()

    async def tell(reason: str, seconds: float) -> None:
        told.add(reason)

    async def one() -> None:
        nonlocal open_calls, most, calls
        while True:
            ticket = await entered(gate, tell)
            calls, open_calls = calls + 1, open_calls + 1
            if gate.down("m"):
                most = max(most, open_calls)
            await asyncio.sleep(0)
            open_calls -= 1
            up = back.is_set()
            leave(gate, ticket, up=up)
            if up:
                return

    for _ in range(FAILURES):
        leave(gate, await entered(gate, tell), up=False)
    tasks = [asyncio.ensure_future(one()) for _ in range(50)]
    while calls < 4:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)
    assert most == 1
    back.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert told == {"overloaded"}


async def entered(gate: Gate, tell: Tell) -> Ticket:
    while True:
        if (ticket := await gate.enter(REQUEST, tell)) is not None:
            return ticket


def leave(gate: Gate, ticket: Ticket, *, up: bool) -> None:
    if up:
        gate.answers(ticket)
    error = None if up else ModelError("overloaded", "x", retryable=True)
    gate.leave(ticket, error=error, answered=up, whole=up, used=None)


async def test_errors_that_say_nothing_of_the_model_close_nothing() -> None:
    gate = Gate()

    async def tell(reason: str, seconds: float) -> None:
        pytest.fail("it waits")

    for _ in range(3 * FAILURES):
        ticket = await entered(gate, tell)
        gate.leave(ticket, error=ModelError("prompt_blocked", "x"), answered=False, whole=False, used=None)
    assert not gate.down("m")


async def test_the_others_go_as_soon_as_the_probe_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuit, "FIRST_SECONDS", 0.01)
    gate = Gate()

    async def tell(reason: str, seconds: float) -> None: ...

    for _ in range(FAILURES):
        leave(gate, await entered(gate, tell), up=False)
    probe = await entered(gate, tell)
    assert gate.down("m")
    gate.answers(probe)
    assert not gate.down("m")  # although the probe is still writing


async def test_whoever_waited_for_a_model_that_is_down_may_choose_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(circuit, "FIRST_SECONDS", 0.01)
    gate = Gate()

    async def tell(reason: str, seconds: float) -> None: ...

    for _ in range(FAILURES):
        leave(gate, await entered(gate, tell), up=False)
    assert await gate.enter(REQUEST, tell) is None
    assert await gate.enter(REQUEST, tell) is not None


def test_what_an_answer_takes_is_learnt() -> None:
    estimate, prompt = Estimate(), "x" * 400
    free, bound = (
        ModelRequest(model="m", prompt=prompt),
        ModelRequest(model="m", prompt=prompt, max_tokens=20_000),
    )
    assert (estimate.of(free), estimate.of(bound)) == (100 + ANSWER_TOKENS, 20_100)
    estimate.learn(bound, 12_100)
    assert (estimate.of(free), estimate.of(bound)) == (12_100, 12_100)
    for _ in range(100):
        estimate.learn(free, 300)
    assert 300 <= estimate.of(bound) <= 301
    assert estimate.of(ModelRequest(model="m", prompt=prompt, max_tokens=50)) == 150
    assert estimate.of(ModelRequest(model="other", prompt="")) == ANSWER_TOKENS
