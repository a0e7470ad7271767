"""Passwords: argon2id with the parameters that OWASP names first (19 MiB, two passes, one lane)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import SecretStr

AT_ONCE = 2
"""So many are worked on at the same time: each takes a core for some 20 ms."""

_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def digest(password: SecretStr) -> str:
    """Takes a core for some 20 ms; `Passwords` does it beside the event loop."""
    return _HASHER.hash(password.get_secret_value())


class Passwords:
    """Hashes and checks in threads of its own, so that a log-in waits for log-ins only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._nobody: str | None = None

    async def digest(self, password: SecretStr) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._threads, digest, password)

    async def fits(self, known: str | None, password: SecretStr) -> bool:
        """Whether it is the password. Takes as long when there is none to compare with: then it never fits."""
        if known is None and self._nobody is None:
            self._nobody = await self.digest(SecretStr("nobody has this one"))
        compared = known or self._nobody or ""
        fits = await asyncio.get_running_loop().run_in_executor(self._threads, _fits, compared, password)
        return fits and known is not None

    def outdated(self, known: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return _HASHER.check_needs_rehash(known)


def _fits(known: str, password: SecretStr) -> bool:
    try:
        return _HASHER.verify(known, password.get_secret_value())
    except (VerificationError, InvalidHashError):
        return False
