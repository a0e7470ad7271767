"""Tells the person at the terminal what the stack is doing, on stderr, a line for each step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Reporter:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Prints the title with the seconds it took, once it is done; a failure is the caller's to tell."""
        begun = time.monotonic()
        yield
        self._line("green", "ok", title, f"{time.monotonic() - begun:5.2f} s")

    def say(self, line: str) -> None:
        self._line("cyan", "--", line, "")

    def problem(self, line: str) -> None:
        self._console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)

    def restore(self) -> None:
        """After something that wrote to this terminal could not put it right itself."""
        self._console.show_cursor()
        self._console.line()

    def total(self, title: str) -> None:
        self._line("green", "ok", title, f"{time.monotonic() - self._begun:5.2f} s")

    def _line(self, style: str, mark: str, title: str, time_taken: str) -> None:
        self._console.print(f"[{style}]{mark}[/] ", end="")
        self._console.print(
            f"{title:<42}{time_taken}".rstrip(), markup=False, highlight=False, soft_wrap=True
        )
