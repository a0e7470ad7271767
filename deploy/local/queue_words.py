"""The place of a queued execution, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MINUTE, HOUR = 60, 3600
SEVERAL = 90
"""So many of a unit are still told in that unit."""


def place(queue: Mapping[str, Any] | None) -> str:
    """As `next`, or `place 5`; nothing for none."""
    if not queue:
        return ""
    return "next" if queue["position"] == 1 else f"place {queue['position']:,}"


def waiting(queue: Mapping[str, Any] | None) -> str:
    """As `place 5, about 12 s (estimated)`; nothing for none."""
    if not queue:
        return ""
    seconds = queue.get("estimated_wait_seconds")
    wait = "wait not known yet" if seconds is None else f"{_about(seconds)} (estimated)"
    return f"{place(queue)}, {wait}"


def _about(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    if seconds < SEVERAL:
        return f"about {seconds:.0f} s"
    if seconds < SEVERAL * MINUTE:
        return f"about {seconds / MINUTE:.0f} min"
    return f"about {seconds / HOUR:,.0f} h"
