"""A provider that goes silent, or never ends, is given up after the time that it may take."""

import asyncio

import pytest

from services.executor.models.provider import Caller, Finish, ModelRequest, Piece
from shared.execution import ExecutionState, Status
from tests.support.alone import LONG, ran
from tests.support.definitions import one


class Paced:
    """Sends a word after each of these pauses, and then its end."""

    def __init__(self, *pauses: float) -> None:
        self.pauses = pauses
        self.cancelled = 0

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        try:
            for pause in self.pauses:
                await asyncio.sleep(pause)
                caller.receive(Piece(text="word "))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        caller.receive(Piece(finish=Finish.COMPLETE, finish_reason="STOP"))

    async def aclose(self) -> None: ...


async def end_of(provider: Paced, **seconds: float) -> ExecutionState:
    """Of an execution that may not retry."""
    return (await ran(provider, one("x"), seconds))[0]


@pytest.mark.parametrize(
    ("pauses", "seconds"),
    [
        ((LONG,), {"first": 0.05}),
        ((0.0, LONG), {"between": 0.05}),
        ((0.01,) * 1_000, {"whole": 0.2}),
    ],
    ids=["before the first chunk", "between two chunks", "in all"],
)
async def test_who_takes_too_long_is_given_up_and_its_text_kept(
    pauses: tuple[float, ...], seconds: dict[str, float]
) -> None:
    provider = Paced(*pauses)
    state = await end_of(provider, **seconds)
    assert state.status is Status.FAILED
    assert state.error is not None
    assert state.error.code == "provider_unreachable"
    assert "Gemini does not go on" in state.error.message
    assert provider.cancelled == 1
    (partial,) = state.partials
    assert ((partial.output.text or "") != "") == (len(pauses) > 1)


async def test_who_takes_its_time_within_bounds_is_waited_for() -> None:
    state = await end_of(Paced(0.05, 0.05, 0.05), first=5, between=5, whole=5)
    assert state.status is Status.COMPLETED
