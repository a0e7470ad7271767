"""How often somebody may call, and how often a log-in may be tried. Pure; times are monotonic seconds.

Counted in each gateway's own memory: with several gateways somebody may get up to so many times more.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable


class Buckets:
    """A token bucket for each key: `rate` a second, at most `burst` at once. Rate 0 limits nothing.

    The `most` keys used last are remembered. One that is forgotten begins with a full bucket, as a new one does.
    """

    def __init__(self, rate: float, burst: int, *, most: int = 20_000) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._most = most
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable, now: float) -> float:
        """0 when the call may be made; else in how many seconds there will be room for it."""
        if self._rate <= 0:
            return 0.0
        left, seen = self._buckets.get(key, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        wait = 0.0 if left >= 1 else (1 - left) / self._rate
        self._buckets[key] = (left - 1 if wait == 0 else left, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return wait

    def give_back(self, key: Hashable) -> None:
        """The call that was taken last does not count."""
        if key in self._buckets:
            left, seen = self._buckets[key]
            self._buckets[key] = (min(self._burst, left + 1), seen)


class Attempts:
    """A sliding window: at most `limit` attempts of each key within `seconds`."""

    def __init__(self, limit: int, seconds: float, *, most: int = 20_000) -> None:
        self._limit = limit
        self._seconds = seconds
        self._most = most
        self._made: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def wait(self, key: Hashable, now: float) -> float:
        """In how many seconds the next attempt may be made; 0 for now."""
        made = self._made.get(key)
        while made and made[0] <= now - self._seconds:
            made.popleft()
        return made[0] + self._seconds - now if made and len(made) >= self._limit else 0.0

    def note(self, key: Hashable, now: float) -> None:
        """An attempt begins. Counted before its outcome is known, so that many at once are bounded too."""
        self._made.setdefault(key, deque()).append(now)
        self._made.move_to_end(key)
        if len(self._made) > self._most:
            self._made.popitem(last=False)

    def take_back(self, key: Hashable) -> None:
        """The attempt that was noted last does not count."""
        if made := self._made.get(key):
            made.pop()

    def forget(self, key: Hashable) -> None:
        """None of them counts any more."""
        self._made.pop(key, None)
