"""What stands between a node and a call of its model: the fleet's limits, and a model that is down. Only waits."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.executor.models.circuit import DOWN, Circuit
from services.executor.models.estimate import Estimate
from services.executor.models.limiter import Limiter
from services.executor.models.provider import ModelError, ModelRequest

LIMITED = "rate_limit"
"""Why a call waits for its turn, beside the codes of errors."""
FRESH_SECONDS = 1.0
"""So long after its moment a call may still begin; many that come later would come together."""
Tell = Callable[[str, float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """That a call may begin. Given back with `Gate.leave`, however it ended, or if it never began."""

    request: ModelRequest
    reserved: int
    """Tokens."""
    number: int
    """Of the call, for the circuit."""
    moment: float | None
    """Its turn, by `time.monotonic()`; None without limits."""

    @property
    def late(self) -> bool:
        """Whether its turn is over: another has to be waited for."""
        return self.moment is not None and time.monotonic() - self.moment > FRESH_SECONDS


class Gate:
    """Shared by all runs of a process. Every wait is in the caller's task and ends at once with it."""

    def __init__(self, limiter: Limiter | None = None) -> None:
        self._limiter = limiter
        self._estimate = Estimate()
        self._circuits: dict[str, Circuit] = {}

    def down(self, model: str) -> bool:
        """Whether calls of this model wait at present because it does not answer."""
        circuit = self._circuits.get(model)
        return circuit is not None and circuit.wait(time.monotonic()) > 0

    async def enter(self, request: ModelRequest, tell: Tell) -> Ticket | None:
        """Returns when the call may begin; None after a wait for a model that is down, so that another can be chosen.

        `tell` hears of every wait: its reason and about how many seconds. The turn is waited for last: what else there
        is to wait for would make it late.
        """
        circuit = self._circuits.setdefault(request.model, Circuit())
        if (seconds := circuit.wait(time.monotonic())) > 0:
            await tell(circuit.reason, seconds)
            await asyncio.sleep(seconds)
            return None
        reserved = self._estimate.of(request)
        moment: float | None = None
        if self._limiter is not None:
            moment = await self._limiter.take(request.model, reserved, lambda seconds: tell(LIMITED, seconds))
            if circuit.wait(time.monotonic()) > 0:
                self._limiter.used(request.model, reserved, 0)
                return None
        return Ticket(request=request, reserved=reserved, number=circuit.begin(), moment=moment)

    def answers(self, ticket: Ticket) -> None:
        """The first piece of the answer is there: nobody has to wait for its end to know that the model is up."""
        self._circuits[ticket.request.model].lived()

    def leave(
        self, ticket: Ticket, *, error: ModelError | None, answered: bool, whole: bool, used: int | None
    ) -> None:
        """`answered`: something came; `whole`: also the answer's end. `used` tokens, None if unknown."""
        circuit = self._circuits[ticket.request.model]
        if error is not None and error.code in DOWN and not answered:
            circuit.failed(ticket.number, error.code, time.monotonic(), random.random())  # noqa: S311 - jitter
        else:
            circuit.abandoned(ticket.number)
        if used is None:
            return
        if self._limiter is not None:
            self._limiter.used(ticket.request.model, ticket.reserved, used)
        if whole:
            self._estimate.learn(ticket.request, used)
