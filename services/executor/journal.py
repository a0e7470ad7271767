"""The guarded appends of one execution by its owner, one after the other, with the state that they lead to."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from services.executor.patience import patiently
from shared.errors import Conflict, LekhikaError
from shared.events import AnyEvent, Recorded
from shared.execution import ExecutionState, Status, apply, fold
from shared.ids import new_id
from shared.log import Log

SPACING_SECONDS = 0.001
"""Between two appends of one execution on average, so that somebody else's stop gets in between."""
BURST_SECONDS = 2 * SPACING_SECONDS
"""So much of it may be saved up: two appends may follow an idle time at once."""

LATE_SECONDS = 0.5
"""An acknowledgement that takes longer may be of a state that is history by now: this process or its connection hung."""


class Fenced(LekhikaError):
    """The execution has another owner now, or has ended: touch neither it nor its message any more."""


class StopSeen(LekhikaError):
    """A stop was asked for; only its end may be appended now."""


class Journal:
    """Bound to one claim: (attempt, instance). Every other owner's event fences it."""

    def __init__(self, log: Log, state: ExecutionState, attempt: int, instance: str) -> None:
        self._log = log
        self.attempt = attempt
        self.instance = instance
        self._lock = asyncio.Lock()
        self._due = 0.0
        self.state = state
        self.headers: Mapping[str, str] = {}
        """Sent with every event: the trace context."""

    async def claim(self, event: AnyEvent) -> None:
        """The first append, which makes the execution ours.

        Raises: Conflict, when somebody else was first: nothing is ours then.
        """
        after = self.state.last_seq
        seq = await self._log.append(self.state.id, event, after, headers=self.headers)
        self._advance(event, seq, after)

    async def append(
        self, build: Callable[[ExecutionState], AnyEvent], *, while_stopping: bool = False
    ) -> None:
        """Appends what `build` makes of the newest state; builds anew when somebody else's event came between.

        Goes on trying while the log takes nothing. Raises: Fenced; StopSeen, unless `while_stopping`; Permanent, when
        the event is too large.
        """
        async with self._lock:
            while True:
                self._check(while_stopping)
                await self._space()
                event, after = build(self.state), self.state.last_seq
                try:
                    seq = await self._persist(event, after)
                except Conflict:
                    await self.reload()
                    continue
                self._advance(event, seq, after)
                return

    async def append_to_act(self, build: Callable[[ExecutionState], AnyEvent]) -> None:
        """As `append`, for an event that announces an act: returns only while the act may still begin.

        Somebody may have stopped, ended or taken the execution between the server's storing of it and our hearing so.
        """
        began = time.monotonic()
        await self.append(build)
        if time.monotonic() - began > LATE_SECONDS:
            await self.reload()
            self._check(while_stopping=False)

    async def _persist(self, event: AnyEvent, after: int) -> int:
        """Under the guard of the state that the event was built from, whatever is heard meanwhile."""
        key, decision = self.state.id, new_id()
        return await patiently(
            lambda: self._log.append(key, event, after, headers=self.headers, message_id=decision)
        )

    def _check(self, while_stopping: bool) -> None:
        state = self.state
        if state.ended or state.attempt != self.attempt or state.owner != self.instance:
            raise Fenced(f"{state.id} is not ours any more")
        if state.status is Status.STOPPING and not while_stopping:
            raise StopSeen(f"{state.id} is being stopped")

    async def _space(self) -> None:
        wait = self._due - BURST_SECONDS - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def _advance(self, event: AnyEvent, seq: int, after: int) -> None:
        # The server's time stamp is not in its acknowledgement; nobody but this run reads this state.
        now = max(datetime.now(UTC), self.state.last_at)
        own = Recorded(execution_id=self.state.id, event=event, seq=seq, time=now, after=after)
        self._take(apply(self.state, own))
        self._due = max(self._due, time.monotonic()) + SPACING_SECONDS

    async def reload(self) -> None:
        """Takes in what others have appended. Goes on trying while NATS is away."""
        missed = await patiently(lambda: self._log.load(self.state.id, self.state.last_seq))
        self._take(fold(missed, self.state))

    def offer(self, recorded: Recorded) -> None:
        """Takes in an event heard elsewhere, if it is the next one."""
        if recorded.after == self.state.last_seq:
            self._take(apply(self.state, recorded))

    def _take(self, state: ExecutionState | None) -> None:
        if state is not None:
            self.state = state
