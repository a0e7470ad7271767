"""Decides how long to wait before something that died is started again."""

from __future__ import annotations

LONGEST_SECONDS = 5.0
STEADY_SECONDS = 30.0


def delay_before_restart(deaths_in_a_row: int) -> float:
    """Seconds: none after the first death, then 0.5, 1, 2, 4, and 5 from there on."""
    if deaths_in_a_row <= 1:
        return 0.0
    exponent = min(deaths_in_a_row - 2, 10)
    return float(min(LONGEST_SECONDS, 0.5 * 2.0**exponent))


def deaths_after(deaths_in_a_row: int, lived_seconds: float) -> int:
    """The count with one more death; a process that lived long enough starts the count anew."""
    return 1 if lived_seconds >= STEADY_SECONDS else deaths_in_a_row + 1
