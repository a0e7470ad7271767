"""A model that is down is not hammered, and comes back by itself."""

import asyncio

import pytest

from services.executor.models import circuit
from services.executor.models.circuit import FAILURES
from services.executor.models.gate import Gate, Ticket
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
            ticket = await gate.enter(REQUEST, tell)
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
        leave(gate, await gate.enter(REQUEST, tell), up=False)
    tasks = [asyncio.ensure_future(one()) for _ in range(50)]
    while calls < 4:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)
    assert most == 1
    back.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert told == {"overloaded"}


def leave(gate: Gate, ticket: Ticket, *, up: bool) -> None:
    error = None if up else ModelError("overloaded", "x", retryable=True)
    gate.leave(ticket, error=error, answered=up, used=None)


async def test_errors_that_say_nothing_of_the_model_close_nothing() -> None:
    gate = Gate()

    async def tell(reason: str, seconds: float) -> None:
        pytest.fail("it waits")

    for _ in range(3 * FAILURES):
        ticket = await gate.enter(REQUEST, tell)
        gate.leave(ticket, error=ModelError("prompt_blocked", "x"), answered=False, used=None)
    assert not gate.down("m")
