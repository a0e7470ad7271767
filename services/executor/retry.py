"""When a failed model call is tried again. Pure. Nothing below it retries."""

from dataclasses import dataclass

from services.executor.models.provider import ModelError

MAX_TRIES = 6
"""In a row, of one call whose failures may each have cost something."""
BUDGET = 100
"""Of retries that one execution may make in all, where nothing else is set."""
BASE_SECONDS = 0.5
CAP_SECONDS = 30.0
GRACE = 4
"""So many times the provider's own delay is taken at its word."""
PATIENT = frozenset({"quota", "overloaded"})
"""Refusals that cost nothing: tried again until the limit of the execution's time, and not part of its budget."""


@dataclass(slots=True)
class Retries:
    """How many an execution may still make, over all its nodes, while it runs here."""

    left: int

    def spend(self, code: str) -> None:
        """One is made after an error of this code."""
        if code not in PATIENT:
            self.left -= 1


def next_delay(error: ModelError, tries: int, chance: float, *, budget: int) -> float | None:
    """Seconds to wait before the next try, after `tries` failed ones in a row; None to give up.

    The provider's own delay is honoured, with a spread on top that grows when it proves too short; without one the wait
    is exponential with full jitter. `chance` is uniform in [0, 1). `budget` counts the retries that the execution may still make.
    """
    if not error.retryable:
        return None
    if error.code not in PATIENT and (tries >= MAX_TRIES or budget <= 0):
        return None
    if error.delay is not None:
        return error.delay + chance * max(1.0, error.delay / 10, _growing(tries - GRACE))
    return chance * _growing(tries)


def _growing(tries: int) -> float:
    return min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(tries, 20))
