"""A provider that goes silent, or never ends, is given up after the time that it may take."""

import asyncio
from typing import Any

import pytest

from services.executor.apart import Apart
from services.executor.journal import Journal
from services.executor.models.provider import Caller, Finish, ModelRequest, Piece
from services.executor.nodes.context import CallTimes
from services.executor.parts import Parts
from services.executor.run import ExecutionRun
from services.executor.server_clock import ServerClock
from shared.events import TextRef
from shared.execution import ExecutionState, Status
from shared.ids import new_id
from tests.support.definitions import one
from tests.support.make import folded, requested, started
from tests.support.memory_log import MemoryLog

ME = "here"
LONG = 60.0


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


class Nobody:
    async def publish(self, *_: Any, **__: Any) -> None: ...


async def end_of(provider: Paced, **seconds: float) -> ExecutionState:
    """Of an execution that may not retry."""
    log, key = MemoryLog(), new_id()
    await log.append(key, requested(one("x")), 0)
    times = CallTimes(**{"first": LONG, "between": LONG, "whole": LONG, "merge": 0.001, **seconds})
    parts: dict[str, Any] = {
        "nc": Nobody(),
        "artifacts": Inline(),
        "provider": provider,
        "times": times,
        "clock": ServerClock(),
        "apart": Apart(),
        "retry_budget": 0,
    }
    journal = Journal(log, folded(await log.load(key)), 1, ME)
    await journal.claim(started(instance=ME))
    await asyncio.wait_for(ExecutionRun(Parts(**parts), journal).drive(), 10)
    return folded(await log.load(key))


class Inline:
    """Small texts only."""

    async def get_body(self, body: Any) -> Any:
        return body

    async def put_text(self, _: str, text: str) -> Any:
        return TextRef(text=text, characters=len(text))

    async def put_partial(self, key: str, text: str, inline: int) -> Any:
        return await self.put_text(key, text)


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
