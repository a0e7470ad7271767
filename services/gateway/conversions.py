"""Outputs made into files, beside the event loop: each in a process of its own, a few at once.

A long book keeps an interpreter busy for seconds; a process does not hold up the streams and stops of others, gives its
memory back, and ends when the text asks for too much. Of one user one file is made at a time, so that nobody takes all turns.
"""

import asyncio
import contextlib
import pickle
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.gateway.downloads.form import BookForm
from services.gateway.downloads.source import Source
from services.gateway.problems import RETRY_SECONDS, Problem, unavailable
from shared import own_process
from shared.errors import Unavailable

MODULE = "services.gateway.downloads"
MAX_CHARACTERS = 4_000_000
"""Some 600,000 words."""
PATIENCE_SECONDS = 120.0
"""By the clock, from the start of the process."""
AT_ONCE = 2
WAITING = 20
"""More than so many are sent away."""
PER_USER = 2
"""Being made or waiting."""


@dataclass(slots=True)
class _User:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    inside: int = 0


class Conversions:
    """One for the process."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._inside = 0
        self._users: dict[str, _User] = {}

    async def make(self, source: Source, form: BookForm, user_id: str) -> bytes:
        """The file. Cancelling it ends the process and frees the place.

        Raises: Problem 422, when the text is too long or takes too much; 429, when the user has `PER_USER` of them
        already; 503, when too many are waiting.
        """
        if len(source.text) > MAX_CHARACTERS:
            detail = (
                f"It has {len(source.text):,} characters, and at most {MAX_CHARACTERS:,} can be made into {form.upper()}."
                " Take it as Markdown (format=md)."
            )
            raise Problem(422, "output_too_long", "The output is too long for this form", detail)
        async with self._place(user_id) as user, user.turn, self._turns:
            return await _made(source, form)

    @contextlib.asynccontextmanager
    async def _place(self, user_id: str) -> AsyncIterator[_User]:
        """Raises: Problem 429, 503."""
        user = self._users.get(user_id) or _User()
        if user.inside >= PER_USER:
            raise _too_many_of_one_user()
        if self._inside >= AT_ONCE + WAITING:
            raise unavailable("Many other files are being made at the moment. Try again in a little while.")
        self._users[user_id] = user
        user.inside += 1
        self._inside += 1
        try:
            yield user
        finally:
            self._inside -= 1
            user.inside -= 1
            if not user.inside:
                del self._users[user_id]


async def _made(source: Source, form: BookForm) -> bytes:
    """Raises: Problem 422; 503, when the machine has no room for another process now."""
    try:
        process = await own_process.start(MODULE)
    except Unavailable:
        raise unavailable("No file can be made at the moment.") from None
    made = await own_process.answer(process, pickle.dumps((source, form)), PATIENCE_SECONDS)
    if made is None:
        detail = (
            f"Making {form.upper()} of it takes too long or too much memory. Take it as Markdown (format=md)."
        )
        raise Problem(422, "not_convertible", "The output can not be made into this form", detail)
    return made


def _too_many_of_one_user() -> Problem:
    detail = f"{PER_USER} files are being made for you already. Try again when one of them is done."
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(429, "too_many_files", "Too many files at once", detail, headers=headers)
