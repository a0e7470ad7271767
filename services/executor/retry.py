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


@dataclass(slots=True)
class Retries:
    """How many an execution may still make, over all its nodes, while it runs here. Whoever takes it over begins anew."""

    left: int

    def spend(self, error: ModelError) -> None:
        """One is made after this error. A refusal that cost nothing is not part of the budget."""
        if not error.free:
            self.left -= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What an execution has left for retries: how many that may cost something, and seconds of its time."""

    budget: int
    seconds: float


def next_delay(error: ModelError, tries: int, chance: float, room: Room) -> float | None:
    """Seconds to wait before the next try, after `tries` failed ones in a row; None to give up.

    What costs nothing is tried again while there is time for another try. The provider's own delay is honoured, with a
    spread on top that grows when it proves too short; without one the wait is exponential with full jitter. `chance` is
    uniform in [0, 1).
    """
    if not error.retryable:
        return None
    if not error.free and (tries >= MAX_TRIES or room.budget <= 0):
        return None
    delay = _delay(error, tries, chance)
    return delay if delay < room.seconds else None


def _delay(error: ModelError, tries: int, chance: float) -> float:
    if error.delay is not None:
        return error.delay + chance * max(1.0, error.delay / 10, _growing(tries - GRACE))
    return chance * _growing(tries)


def _growing(tries: int) -> float:
    return min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(tries, 20))
