"""Writing lines to a pipe, file or terminal without ever waiting for its reader."""

import os
import select
import threading
from collections import deque

from shared import conventions as names

PIPE_ATOM = 4096
"""A pipe that polls as writable takes at least this many bytes at once (PIPE_BUF on Linux)."""
MAX_WAITING = 10_000


class NonBlockingOutput:
    """Up to 10,000 lines wait while the reader does not read; later ones are dropped and counted.

    The descriptor itself stays in blocking mode: it may be shared with other processes, such as a shell.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._lock = threading.Lock()

    def write(self, line: bytes) -> None:
        """Writes the line and its newline now, or with a later call. Any thread may call; raises nothing."""
        if len(self._lines) >= MAX_WAITING:
            names.LOG_LINES_DROPPED.labels("stdout").inc()
        else:
            self._lines.append(line + b"\n")
        self.pump()

    def pump(self) -> None:
        """Writes what the reader has room for."""
        # Who does not get the lock leaves its line to the holder; who has just let go looks once more.
        while (self._lines or self._rest) and self._lock.acquire(blocking=False):
            try:
                if not self._write_some():
                    return
            finally:
                self._lock.release()

    def drain(self, seconds: float = 1.0) -> None:
        """Writes what still waits, at the end of the process; gives up when the reader takes nothing for so long."""
        while (self._lines or self._rest) and self._poll.poll(seconds * 1000):
            self.pump()

    def _write_some(self) -> bool:
        """Whether everything that waited is written."""
        try:
            while self._rest or self._lines:
                if not self._writable():
                    return False
                if not self._rest:
                    self._rest = self._lines.popleft()
                written = os.write(self._descriptor, self._rest[:PIPE_ATOM])
                self._rest = self._rest[written:]
        except (OSError, IndexError):  # the reader is gone: nobody will read this or any later line
            self._rest = b""
            self._lines.clear()
        return True

    def _writable(self) -> bool:
        return any(events & (select.POLLOUT | select.POLLERR) for _, events in self._poll.poll(0))
