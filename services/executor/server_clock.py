"""When a stop was heard and its last socket closed, told in the server's time, which the stop itself is stamped with.

A stamp is made before its message arrives, so the smallest difference seen between arrival and stamp is the difference
of the clocks and the quickest way. Durations measured here stay as they are, and nothing shown lies before the stop,
whatever the clock of this machine says. Pure.
"""

import time
from datetime import UTC, datetime, timedelta

WINDOW_SECONDS = 300.0
"""What was seen longer ago than twice this is forgotten: clocks drift."""


class ServerClock:
    """`arrived`, `heard` and `closed` are `time.monotonic()`."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._least: float | None = None
        self._least_before: float | None = None

    def saw(self, stamp: datetime, arrived: float) -> None:
        """A message that the server stamped so arrived."""
        if self._least is None or arrived - self._begun > WINDOW_SECONDS:
            self._begun, self._least_before, self._least = arrived, self._least, None
        difference = arrived - stamp.timestamp()
        self._least = difference if self._least is None else min(self._least, difference)

    def told(self, when: float) -> datetime | None:
        """A moment of `time.monotonic()` in the server's time; None while nothing was seen of it."""
        known = [each for each in (self._least, self._least_before) if each is not None]
        return datetime.fromtimestamp(when - min(known), UTC) if known else None

    def now(self) -> float:
        """Seconds since the epoch as the server has them; this machine's own while nothing was seen of it."""
        told = self.told(time.monotonic())
        return told.timestamp() if told is not None else time.time()

    def stop_times(self, asked: datetime, heard: float, closed: float) -> tuple[datetime, datetime]:
        """(heard at, closed at) of a stop that the server stamped `asked`."""
        heard_at = max(self.told(heard) or asked, asked)
        return heard_at, heard_at + timedelta(seconds=max(0.0, closed - heard))
