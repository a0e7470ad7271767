"""Work for one client, given up when the client leaves: nobody else would take what it gives."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from shared.tasks import cancel_and_wait, spawn

T = TypeVar("T")


async def unless_left(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives, of a request without a body.

    Raises: ClientDisconnect, once the client has left and the work has been cancelled; whatever `work` raises.
    """
    try:
        async with asyncio.timeout(None) as until:
            watching = spawn(_until_left(request.receive, until), name="until the client leaves")
            try:
                return await work
            finally:
                await cancel_and_wait(watching)
    except TimeoutError:
        if until.expired():
            raise ClientDisconnect from None
        raise


async def _until_left(receive: Receive, until: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    until.reschedule(asyncio.get_running_loop().time())
