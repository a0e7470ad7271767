"""A client that costs next to nothing, so that the figures are the product's and not the client's."""

import asyncio
import json
from typing import Any, Self
from urllib.parse import urlsplit


class LeanClient:
    """One kept connection of plain HTTP/1.1. Use as an async context manager."""

    def __init__(self, base_url: str, key: str) -> None:
        parts = urlsplit(base_url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        )

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def get(self, path: str) -> dict[str, Any]:
        """As `post`."""
        return await self._ask("GET", path, b"")

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of a 2xx answer. Raises: AssertionError on any other."""
        return await self._ask("POST", path, json.dumps(body or {}).encode())

    async def _ask(self, method: str, path: str, data: bytes) -> dict[str, Any]:
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(data)}\r\n\r\n"
        self._writer.write(head.encode() + data)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        text = await self._reader.readexactly(length)
        assert answer.startswith("http/1.1 2"), text
        found: dict[str, Any] = json.loads(text)
        return found
