"""When a failed model call is tried again. Pure. Nothing below it retries."""

from services.executor.models.provider import ModelError

MAX_TRIES = 6
BASE_SECONDS = 0.5
CAP_SECONDS = 30.0


def next_delay(error: ModelError, tries: int, chance: float) -> float | None:
    """Seconds to wait before the next try, after `tries` failed ones; None to give up.

    The provider's own delay is honoured, with a little spread on top; without one the wait is exponential with full
    jitter. `chance` is uniform in [0, 1).
    """
    if not error.retryable or tries >= MAX_TRIES:
        return None
    if error.code == "schema_mismatch" and tries >= 2:
        return None
    if error.delay is not None:
        return error.delay + chance * min(1.0, error.delay / 10)
    return chance * min(CAP_SECONDS, BASE_SECONDS * 2.0**tries)
