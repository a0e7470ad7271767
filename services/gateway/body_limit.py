"""The bound on request bodies, whether they say their length or not."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATIENCE_SECONDS = 2.0
PATIENCE_FACTOR = 16
"""Up to so many times the limit is read and thrown away, so that a client that is still sending gets the answer."""


class BodyLimit:
    """Makes reading beyond `most` bytes raise HTTPException 413, which becomes a problem like any other.

    Stands inside of the middleware that turns exceptions into answers.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _Counted(receive, self._most).receive, send)


class _Counted:
    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = most
        self._read = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            await self._skip_rest(message)
            raise HTTPException(413, headers={"Connection": "close"})
        return message

    async def _skip_rest(self, message: Message) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while message.get("more_body") and self._read < self._most * PATIENCE_FACTOR:
                    message = await self._receive()
                    self._read += len(message.get("body", b""))
        except TimeoutError:
            return
