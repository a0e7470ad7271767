"""How much of the ledger is taken at once by what works through all of it. Pure."""

from datetime import UTC, datetime, timedelta

FIRST = timedelta(days=1)
SMALLEST = timedelta(minutes=15)
"""A bucket, as `services.analytics.statements` makes them."""
LARGEST = timedelta(days=64)
PATIENCE = 0.25
"""Seconds that the writers of the ledger may be kept waiting by one range."""


def next_span(span: timedelta, seconds: float) -> timedelta:
    """The length of the next range after one of `span` that took `seconds`."""
    if seconds > PATIENCE:
        return max(SMALLEST, _whole(span / 2))
    if seconds < PATIENCE / 4:
        return min(LARGEST, span * 2)
    return span


def _whole(span: timedelta) -> timedelta:
    """A bucket is never cut."""
    return span - span % SMALLEST


def floor(time: datetime) -> datetime:
    """Start of the bucket that `time` lies in."""
    return time - (time - datetime(1970, 1, 1, tzinfo=UTC)) % SMALLEST


def ceiling(time: datetime) -> datetime:
    """End of the bucket that `time` lies in; `time` itself where a bucket begins."""
    start = floor(time)
    return time if start == time else start + SMALLEST
