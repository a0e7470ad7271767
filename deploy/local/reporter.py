"""Tells the person at the terminal what the stack is doing, on stderr, a line for each step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

TICK_SECONDS = 1.0
SLOW_SECONDS = 20.0
"""A start that takes longer is told to be slow."""
BUSY = "the machine may just be busy"
_ERASE = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))


class Reporter:
    """On a terminal, the last line says what is waited for; elsewhere there are only lines that stay."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self._waiting: list[str] = []
        self._drawn = False
        self._told_slow = False

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Prints the title with the seconds it took, once it is done; a failure is the caller's to tell."""
        begun = time.monotonic()
        self._waiting.append(title)
        self._draw()
        try:
            yield
        finally:
            self._waiting.remove(title)
            self._draw()
        self._line("green", "ok", title, f"{time.monotonic() - begun:5.2f} s")

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[None]:
        """Inside, what is waited for is told again and again."""
        async with asyncio.TaskGroup() as group:
            ticks = group.create_task(self._tick())
            try:
                yield
            finally:
                ticks.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._waiting and not self._told_slow and self._is_slow() and not self._console.is_terminal:
                self._told_slow = True
                self.say(f"still waiting for {self._what()}; {BUSY}")
            self._draw()

    def _is_slow(self) -> bool:
        return time.monotonic() - self._begun >= SLOW_SECONDS

    def _what(self) -> str:
        return ", ".join(self._waiting)

    def _draw(self) -> None:
        if not self._console.is_terminal:
            return
        self._erase()
        if self._waiting:
            passed = time.monotonic() - self._begun
            why = f"; {BUSY}" if self._is_slow() else ""
            line = Text(f".. {passed:3.0f} s{why}, waiting for {self._what()}", "dim")
            line.truncate(self._console.width - 1, overflow="ellipsis")
            self._console.print(line, end="")
            self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._console.control(_ERASE)
            self._drawn = False

    def say(self, line: str) -> None:
        self._line("cyan", "--", line, "")

    def problem(self, line: str) -> None:
        self._erase()
        self._console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)

    def restore(self) -> None:
        """After something that wrote to this terminal could not put it right itself."""
        self._console.show_cursor()
        self._console.line()

    def total(self, title: str) -> None:
        self._line("green", "ok", title, f"{time.monotonic() - self._begun:5.2f} s")

    def _line(self, style: str, mark: str, title: str, time_taken: str) -> None:
        self._erase()
        self._console.print(f"[{style}]{mark}[/] ", end="")
        self._console.print(
            f"{title:<42}{time_taken}".rstrip(), markup=False, highlight=False, soft_wrap=True
        )
        self._draw()
