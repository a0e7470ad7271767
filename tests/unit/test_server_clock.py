"""What is shown of a stop is sane whatever the clocks say."""

from datetime import UTC, datetime, timedelta

import pytest

from services.executor.server_clock import WINDOW_SECONDS, ServerClock

ASKED = datetime(2026, 11, 1, 12, tzinfo=UTC)


def heard_after(seconds: float, skew: float) -> float:
    """`time.monotonic()` here, `seconds` after the stop, on a machine whose clock is `skew` ahead."""
    return (ASKED + timedelta(seconds=seconds + skew)).timestamp()


@pytest.mark.parametrize("skew", [-3600.0, -0.5, 0.0, 0.5, 3600.0])
def test_durations_are_those_measured_here_and_no_time_lies_before_the_stop(skew: float) -> None:
    clock = ServerClock()
    clock.saw(ASKED - timedelta(seconds=60), heard_after(-60 + 0.001, skew))
    heard = heard_after(0.005, skew)
    clock.saw(ASKED, heard)
    heard_at, closed_at = clock.stop_times(ASKED, heard, heard + 0.003)
    assert heard_at - ASKED == pytest.approx(timedelta(seconds=0.004), abs=timedelta(microseconds=5))
    assert closed_at - heard_at == pytest.approx(timedelta(seconds=0.003), abs=timedelta(microseconds=5))


def test_without_anything_seen_it_was_heard_when_it_was_asked() -> None:
    assert ServerClock().stop_times(ASKED, 5.0, 4.0) == (ASKED, ASKED)


def test_a_clock_that_drifts_is_followed() -> None:
    clock = ServerClock()
    clock.saw(ASKED, heard_after(0, 0))
    for number in range(1, 4):
        later = number * 1.1 * WINDOW_SECONDS
        clock.saw(ASKED + timedelta(seconds=later), heard_after(later, 2.0))
    asked = ASKED + timedelta(seconds=4 * WINDOW_SECONDS)
    heard_at, _ = clock.stop_times(asked, heard_after(4 * WINDOW_SECONDS, 2.0), 0.0)
    assert heard_at - asked == pytest.approx(timedelta(), abs=timedelta(microseconds=5))
