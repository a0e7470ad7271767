"""The arithmetic of limits per minute that a whole fleet keeps together. Pure.

A bucket is two moments: up to when requests, and up to when tokens, are given away (GCRA, the virtual scheduling of
ITU-T I.371). Whoever reserves gets a moment at which to call and moves them on; nobody has to ask again. Clocks that
differ make it unfair, never faster than the limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, PositiveFloat

MINUTE = 60.0
SLACK = 0.03
"""Share of a minute's calls that may come early, in a burst: no minute has more than 1 + SLACK of the limit."""
HORIZON_SECONDS = 20.0
"""Nothing is reserved further ahead: what an executor that dies has reserved is lost."""


class Limit(BaseModel):
    """Per minute, over all executors; None is unlimited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Seconds since the epoch."""

    requests: float = 0.0
    tokens: float = 0.0


def burst_seconds(per_minute: float) -> float:
    """How much earlier than evenly spaced a call may come."""
    return max(0.0, MINUTE * (SLACK - 1 / per_minute))


def reserve(
    bucket: Bucket, limit: Limit, now: float, tokens: Sequence[int]
) -> tuple[Bucket, Sequence[float]]:
    """The moments, none before `now`, at which calls of so many tokens may begin, in their order.

    Fewer than asked for, when the rest would lie beyond the horizon.
    """
    given: list[float] = []
    for wanted in tokens:
        at = max(now, _earliest(bucket, limit))
        if at > now + HORIZON_SECONDS:
            break
        given.append(at)
        bucket = Bucket(
            requests=_taken(bucket.requests, limit.requests_per_minute, at, 1),
            tokens=_taken(bucket.tokens, limit.tokens_per_minute, at, wanted),
        )
    return bucket, given


def settle(bucket: Bucket, limit: Limit, tokens: int) -> Bucket:
    """Corrects what was reserved by so many tokens, fewer or more, that calls have really used."""
    if limit.tokens_per_minute is None:
        return bucket
    moved = bucket.tokens + tokens * MINUTE / limit.tokens_per_minute
    return Bucket(requests=bucket.requests, tokens=max(0.0, moved))


def expected(bucket: Bucket, limit: Limit, now: float, ahead: Sequence[int]) -> float:
    """About how many seconds it takes until a call may begin that has others of so many tokens before it, without a
    moment.
    """
    moved = Bucket(
        requests=_taken(bucket.requests, limit.requests_per_minute, now, len(ahead)),
        tokens=_taken(bucket.tokens, limit.tokens_per_minute, now, sum(ahead)),
    )
    return max(0.0, _earliest(moved, limit) - now)


def _earliest(bucket: Bucket, limit: Limit) -> float:
    requests, tokens = limit.requests_per_minute, limit.tokens_per_minute
    return max(
        bucket.requests - burst_seconds(requests) if requests else 0.0,
        bucket.tokens - burst_seconds(tokens) if tokens else 0.0,
    )


def _taken(until: float, per_minute: float | None, at: float, count: int) -> float:
    return max(until, at) + count * MINUTE / per_minute if per_minute else until
