"""Nothing is done about an open execution on one look alone. Pure.

A suspicion counts when it was seen in two rounds, at least five seconds apart, with no event of the execution
in between, while this process's own heartbeats were accepted without a gap. Without the last, an outage of
the server makes every healthy executor look dead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.janitor.policy import Action
from shared.subjects import HEARTBEAT_TTL_SECONDS

BETWEEN_SECONDS = 5.0
UNBROKEN_SECONDS = HEARTBEAT_TTL_SECONDS + 2.0
"""By then, whoever lives has been heard again."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What should be done, and the sequence of the execution's last event when that was judged."""

    action: Action
    last_seq: int


@dataclass(frozen=True, slots=True)
class Sighting:
    suspicion: Suspicion
    first: float
    """`time.monotonic()` of the first round that saw it."""


Sightings = Mapping[str, Sighting]
"""By execution id."""


def look(
    before: Sightings, suspects: Mapping[str, Suspicion], now: float, unbroken_since: float | None
) -> tuple[Sightings, frozenset[str]]:
    """What has been seen up to this round, and on which executions the evidence suffices.

    `unbroken_since` is the monotonic time of the first of an unbroken run of accepted heartbeats, or None.
    """
    if unbroken_since is None:
        return {}, frozenset()
    seen = {
        key: _sighting(before.get(key), suspect, now, unbroken_since) for key, suspect in suspects.items()
    }
    if now - unbroken_since < UNBROKEN_SECONDS:
        return seen, frozenset()
    return seen, frozenset(key for key, sighting in seen.items() if now - sighting.first >= BETWEEN_SECONDS)


def _sighting(before: Sighting | None, suspicion: Suspicion, now: float, unbroken_since: float) -> Sighting:
    if before is not None and before.suspicion == suspicion and before.first >= unbroken_since:
        return before
    return Sighting(suspicion, now)
