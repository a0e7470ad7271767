"""How late the event loop is: a timer that compares when it was due with when it ran."""

import asyncio

PERIOD_SECONDS = 0.1


class LoopDelay:
    """Between `start` and `stop`, a tick every 100 ms; needs a running loop."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._schedule(loop)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def take(self) -> float:
        """The longest lateness in seconds since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + PERIOD_SECONDS
        self._handle = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._worst = max(self._worst, loop.time() - due)
        self._schedule(loop)
