"""A limit of time for code of other people that runs in the event loop's own thread: templates.

A timer of the process raises in the middle of it, between two steps of the interpreter. Single steps that would take
long by themselves are refused by the sandbox in `shared.templates`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.errors import Permanent


class OutOfTime(Permanent):
    """It took longer than it may."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise OutOfTime("it takes too long")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises: OutOfTime inside the block once `seconds` have passed. Only for the main thread, and not nested."""
    before = signal.signal(signal.SIGALRM, _raise)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
