"""What stands between a node and a call of its model: the fleet's limits, and a model that is down. Only waits."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.executor.models.circuit import DOWN, Circuit
from services.executor.models.limiter import Limiter
from services.executor.models.provider import ModelError, ModelRequest

ANSWER_TOKENS = 2_000
"""What an answer is thought to take, as long as it is not known."""
LIMITED = "rate_limit"
"""Why a call waits for its turn, beside the codes of errors."""
Tell = Callable[[str, float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """That a call may begin. Given back with `Gate.leave`, however it ended."""

    model: str
    reserved: int
    probe: bool


class Gate:
    """Shared by all runs of a process. Every wait is in the caller's task and ends at once with it."""

    def __init__(self, limiter: Limiter | None = None) -> None:
        self._limiter = limiter
        self._circuits: dict[str, Circuit] = {}

    def down(self, model: str) -> bool:
        """Whether calls of this model wait at present because it does not answer."""
        circuit = self._circuits.get(model)
        return circuit is not None and circuit.wait(time.monotonic()) > 0

    async def enter(self, request: ModelRequest, tell: Tell) -> Ticket:
        """Returns when the call may begin. `tell` hears of every wait: its reason and about how many seconds."""
        model, reserved = request.model, estimated_tokens(request)
        circuit = self._circuits.setdefault(model, Circuit())
        await _wait(circuit, tell)  # before a turn is taken, which would be lost
        if self._limiter is not None:
            await self._limiter.take(model, reserved, lambda seconds: tell(LIMITED, seconds))
            await _wait(circuit, tell)
        return Ticket(model=model, reserved=reserved, probe=circuit.begin())

    def leave(self, ticket: Ticket, *, error: ModelError | None, answered: bool, used: int | None) -> None:
        """`answered`: something came. `used` tokens, None if unknown."""
        circuit = self._circuits[ticket.model]
        if answered:
            circuit.lived()
        elif error is not None and error.code in DOWN:
            circuit.failed(error.code, time.monotonic(), random.random())  # noqa: S311 - jitter
        else:
            circuit.abandoned(ticket.probe)
        if self._limiter is not None and used is not None:
            self._limiter.used(ticket.model, ticket.reserved, used)


async def _wait(circuit: Circuit, tell: Tell) -> None:
    """Returns in the very step in which the circuit lets a call go."""
    while (seconds := circuit.wait(time.monotonic())) > 0:
        await tell(circuit.reason, seconds)
        await asyncio.sleep(seconds)


def estimated_tokens(request: ModelRequest) -> int:
    """Of a call that has not begun: four characters a token, and an answer of usual length."""
    texts = (request.prompt, request.system or "", request.said, request.then)
    return sum(map(len, texts)) // 4 + min(request.max_tokens or ANSWER_TOKENS, ANSWER_TOKENS)
