"""Bounds of time and memory for code of other people that runs in the event loop's own thread: templates
and schemas.

A timer of the process raises in the middle of it, between two steps of the interpreter; an allocation beyond the bound
fails inside it. What single steps could do for long without either is refused by the sandbox in `shared.templates`.
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

HERE_SECONDS = 0.02
"""Of CPU time in the event loop: meanwhile every other execution of the process waits, its stop included."""
MEMORY_BYTES = 256 << 20
"""How much the templates of one plan, or the check of one answer, may take."""
AGAIN_SECONDS = 0.05
"""It is raised again so often, should a `finally` of the block run on."""
_STATM = Path("/proc/self/statm")


class OutOfTime(BaseException):
    """It took longer than it may. No `Exception`, so that what runs in the bounds can not swallow it."""

    node: str | None = None
    """The one whose template was being worked out, when that is known."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise OutOfTime("it takes too long")


@contextmanager
def bounded(seconds: float, memory: int) -> Iterator[None]:
    """Raises inside the block: OutOfTime after `seconds` of CPU time, MemoryError when it takes `memory` bytes more.

    Only for the main thread, and not nested. Where the system does not tell the size of the process (it does on
    Linux) memory is not bounded.
    """
    before = signal.signal(signal.SIGPROF, _raise)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = _address_space()
    if used is not None:
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def _address_space() -> int | None:
    try:
        return int(_STATM.read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return None
