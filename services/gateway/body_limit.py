"""The bounds on request bodies: size, whether they say it or not, and time."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_SECONDS = 30.0
"""How long the whole of a body may take to come."""
PATIENCE_SECONDS = 2.0
PATIENCE_FACTOR = 16
"""Up to so many times the limit is read and thrown away, so that a client that is still sending gets the answer."""


class BodyLimit:
    """Makes reading beyond `most` bytes raise HTTPException 413, and beyond `seconds` 408; both become problems.

    A body that says it is larger is refused before it is asked for.
    Stands inside of the middleware that turns exceptions into answers.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _Counted(scope, receive, self._most, self._seconds).receive, send)


class _Counted:
    def __init__(self, scope: Scope, receive: Receive, most: int, seconds: float) -> None:
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._waits = headers.get("expect", "").lower() == "100-continue"
        """The caller sends the body only once it is asked to, which the first `receive` does."""
        self._receive = receive
        self._most = most
        self._seconds = seconds
        self._until: float | None = None
        self._whole = False
        self._read = 0

    async def receive(self) -> Message:
        if self._whole:  # what comes now is that the caller leaves, whenever that is
            return await self._receive()
        if self._announced > self._most:
            if not self._waits:
                await self._skip_rest({"more_body": True})
            raise self._too_large()
        message = await self._in_time()
        self._whole = not message.get("more_body", False)
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            await self._skip_rest(message)
            raise self._too_large()
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"Send at most {self._most:,} bytes.", headers={"Connection": "close"})

    async def _in_time(self) -> Message:
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError:
            detail = f"Send the whole of the body within {self._seconds:.0f} s."
            raise HTTPException(408, detail, headers={"Connection": "close"}) from None

    async def _skip_rest(self, message: Message) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while message.get("more_body") and self._read < self._most * PATIENCE_FACTOR:
                    message = await self._receive()
                    self._read += len(message.get("body", b""))
        except TimeoutError:
            return
