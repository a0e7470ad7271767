"""Executions in the order in which they are expected to start, and how fast that order moves. Pure.

The pace is counted over the time during which somebody waited: a line that is mostly empty says nothing about how
long a wait would be while it was.
"""

from bisect import bisect_left, insort
from collections import deque

MARKS = 512
"""Of the pace: at most so many of the latest."""

Key = tuple[int, float, str]
"""Rank, time of arrival, execution id: what comes first is expected to start first."""


class WaitingLine:
    """Times are monotonic seconds. Every call costs the logarithm of the length, and a short copy in memory."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._keys: list[Key] = []
        self._waited = 0.0
        self._since: float | None = None
        self._marks: deque[float] = deque(maxlen=MARKS)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: Key, now: float) -> None:
        if not self._keys:
            self._since = now
        insort(self._keys, key)

    def remove(self, key: Key, now: float) -> None:
        place = bisect_left(self._keys, key)
        if self._keys[place : place + 1] != [key]:
            raise KeyError(key)
        del self._keys[place]
        if not self._keys and self._since is not None:
            self._waited += now - self._since
            self._since = None

    def ahead(self, key: Key) -> int:
        """How many come before it."""
        return bisect_left(self._keys, key)

    def first(self, rank: int, most: int) -> list[Key]:
        """The first of that rank and above, at most `most`."""
        start = self._start(rank)
        return self._keys[start : start + most]

    def count(self, rank: int) -> int:
        """How many have that rank or one above."""
        return len(self._keys) - self._start(rank)

    def _start(self, rank: int) -> int:
        return bisect_left(self._keys, (rank,))

    def _clock(self, now: float) -> float:
        """Seconds in which somebody has waited."""
        return self._waited + (now - self._since if self._since is not None else 0.0)

    def moved(self, now: float) -> None:
        """One place further: somebody has left the line in order, or made room for it. Counted while some wait."""
        if self._keys:
            self._marks.append(self._clock(now))

    def seconds(self, places: int, now: float) -> float | None:
        """How long `places` moves will take at the recent pace; None while there is no recent one."""
        clock = self._clock(now)
        begin = max(0.0, clock - self._window)
        if len(self._marks) == MARKS:
            begin = max(begin, self._marks[0])
        while self._marks and self._marks[0] < begin:
            self._marks.popleft()
        return places * (clock - begin) / len(self._marks) if self._marks else None
