"""The one way to wait for a server that does not answer: what was paid for, or asked for, is not given up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.errors import Retryable

AGAIN_SECONDS = 0.5
"""Between two tries."""

T = TypeVar("T")


async def patiently(act: Callable[[], Awaitable[T]]) -> T:
    """What `act` gives once it raises nothing Retryable any more. Cancel it to give up."""
    while True:
        try:
            return await act()
        except Retryable:
            await asyncio.sleep(AGAIN_SECONDS)
