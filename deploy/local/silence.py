"""Decides when a process that does not answer counts as one that hangs."""

from __future__ import annotations

HANGS_SECONDS = 60.0
MISSES = 8
"""So many in a row, as time alone proves nothing: it also passes while the one who asks is stopped."""


class Silence:
    """How long somebody has not answered, and how often. Times are of any one clock, in seconds."""

    def __init__(self, limit_seconds: float, now: float) -> None:
        self._limit = limit_seconds
        self._heard = now
        self._misses = 0

    def answered(self, now: float) -> None:
        self._heard, self._misses = now, 0

    def hangs_after_miss(self, now: float) -> bool:
        """Counts one more question without an answer, and says whether that was enough."""
        self._misses += 1
        return self._misses >= MISSES and now - self._heard >= self._limit
