"""Ranges of the ledger grow while they are quick and shrink when writers wait; they never cut a bucket."""

from datetime import UTC, datetime, timedelta

from services.analytics.ranges import LARGEST, PATIENCE, SMALLEST, ceiling, floor, next_span


def test_a_quick_range_doubles_and_a_slow_one_halves_within_bounds() -> None:
    assert next_span(timedelta(days=1), 0.0) == timedelta(days=2)
    assert next_span(timedelta(days=1), PATIENCE / 2) == timedelta(days=1)
    assert next_span(timedelta(days=1), PATIENCE * 2) == timedelta(hours=12)
    assert next_span(SMALLEST, 60.0) == SMALLEST
    assert next_span(LARGEST, 0.0) == LARGEST


def test_a_range_never_cuts_a_bucket() -> None:
    assert next_span(timedelta(minutes=45), PATIENCE * 2) == timedelta(minutes=15)
    time = datetime(2026, 3, 29, 1, 7, 30, tzinfo=UTC)
    assert (floor(time), ceiling(time)) == (
        time.replace(minute=0, second=0),
        time.replace(minute=15, second=0),
    )
    whole = time.replace(minute=30, second=0)
    assert floor(whole) == ceiling(whole) == whole
