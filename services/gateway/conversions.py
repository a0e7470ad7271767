"""Outputs made into files, beside the event loop: each in a process of its own, a few at once.

A long book keeps an interpreter busy for seconds; a process does not hold up the streams and stops of others, gives its
memory back, and ends when the text asks for too much.
"""

import asyncio
import os
import pickle
import sys

from services.gateway.downloads.form import BookForm
from services.gateway.downloads.source import Source
from services.gateway.problems import Problem, unavailable

MAX_CHARACTERS = 4_000_000
"""Some 600,000 words."""
PATIENCE_SECONDS = 120.0
"""By the clock, from the start of the process."""
AT_ONCE = 2
WAITING = 20
"""More than so many are sent away."""


class Conversions:
    """One for the process."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    async def make(self, source: Source, form: BookForm) -> bytes:
        """The file. Cancelling it ends the process.

        Raises: Problem 422, when the text is too long or takes too much; 503, when too many are waiting.
        """
        if len(source.text) > MAX_CHARACTERS:
            detail = (
                f"It has {len(source.text):,} characters, and at most {MAX_CHARACTERS:,} can be made into {form.upper()}."
                " Take it as Markdown (format=md)."
            )
            raise Problem(422, "output_too_long", "The output is too long for this form", detail)
        if self._inside >= AT_ONCE + WAITING:
            raise unavailable("Many other files are being made at the moment. Try again in a little while.")
        self._inside += 1
        try:
            async with self._turns:
                return await _made(source, form)
        finally:
            self._inside -= 1


async def _made(source: Source, form: BookForm) -> bytes:
    process = await _process()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            made, _ = await process.communicate(pickle.dumps((source, form)))
    except TimeoutError:
        raise _too_much(form) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise _too_much(form)
    return made


async def _process() -> asyncio.subprocess.Process:
    """Raises: Problem 503, when the machine has no room for another process now."""
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.gateway.downloads"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},  # and no secrets
        )
    except OSError:
        raise unavailable("No file can be made at the moment.") from None


def _too_much(form: BookForm) -> Problem:
    detail = (
        f"Making {form.upper()} of it takes too long or too much memory. Take it as Markdown (format=md)."
    )
    return Problem(422, "not_convertible", "The output can not be made into this form", detail)
