"""Waiting for what has no way to tell: a server that starts, a lock, a rollup behind HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable


def pause(seconds: float) -> None:
    """Between two questions, or before a connection is tried again."""
    time.sleep(seconds)  # noqa: TID251 - what is asked can not wake us


def poll_until(fact: Callable[[], bool], *, seconds: float, interval: float = 0.01) -> bool:
    """Asks at once and then every interval; false when the fact has not come true in time."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() >= deadline:
            return False
        pause(interval)
    return True
