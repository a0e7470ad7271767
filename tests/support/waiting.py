"""Waiting for what nobody announces: the end of a process, an answer over HTTP, a row."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any


async def until(
    fact: Callable[[], Any] | Callable[[], Awaitable[Any]], seconds: float | None = 60.0, pause: float = 0.02
) -> Any:
    """Asks again and again; gives the first answer that is true. Raises: TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            found = fact()
            if inspect.isawaitable(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(pause)
