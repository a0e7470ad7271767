"""Definitions are checked beside the event loop, in threads that nothing else waits for.

The largest take some tenths of a second of a core. They go on when the caller has gone, so of one user one is checked at a
time, and few may wait.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from services.gateway.problems import RETRY_SECONDS, Problem
from shared.workflow import Engine

AT_ONCE = 2
PER_USER = 32
"""Being checked or waiting."""


@dataclass(slots=True)
class _User:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    inside: int = 0


class EngineChecks:
    """One for the process."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="engine-check")
        self._users: dict[str, _User] = {}

    async def run(self, user_id: str, check: Callable[[], Engine]) -> Engine:
        """Raises: what the check raises; Problem 429, when the user has `PER_USER` of them already."""
        async with self._place(user_id) as user, user.turn:
            return await asyncio.get_running_loop().run_in_executor(self._threads, check)

    @contextlib.asynccontextmanager
    async def _place(self, user_id: str) -> AsyncIterator[_User]:
        """Raises: Problem 429."""
        user = self._users.setdefault(user_id, _User())
        if user.inside >= PER_USER:
            raise _too_many_of_one_user()
        user.inside += 1
        try:
            yield user
        finally:
            user.inside -= 1
            if not user.inside:
                del self._users[user_id]


def _too_many_of_one_user() -> Problem:
    detail = f"{PER_USER} definitions of yours are being checked already. Try again when one of them is done."
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return Problem(429, "too_many_checks", "Too many definitions at once", detail, headers=headers)
