"""A viewer that is cut again and again, and keeps what the event stream has told it, byte for byte."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import orjson

SECONDS = 120.0
AGAIN_SECONDS = 0.05
Resume = Literal["header", "query"]


@dataclass(kw_only=True)
class Viewer:
    """Follows one execution to its end over connections that last at most `cut` seconds, each to the next gateway."""

    urls: Sequence[str]
    key: str
    execution_id: str
    cut: float | None = None
    resume: Resume = "header"
    seed: int = 0
    texts: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Attempt and text by node."""
    last_id: str | None = None
    connections: int = 0
    names: list[str] = field(default_factory=list)
    end: dict[str, Any] | None = None

    async def watch(self) -> "Viewer":
        """Raises: AssertionError, on a gap, a repeat or a refusal; TimeoutError."""
        numbers = random.Random(self.seed)
        async with asyncio.timeout(SECONDS), httpx.AsyncClient(timeout=SECONDS) as client:
            while self.end is None:
                url = self.urls[(self.connections + self.seed) % len(self.urls)]
                seconds = None if self.cut is None else self.cut * numbers.uniform(0.5, 1.5)
                self.connections += 1
                with contextlib.suppress(httpx.TransportError, TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._connection(client, url)
                if self.end is None and self.cut is None:
                    await asyncio.sleep(AGAIN_SECONDS)  # as a client does whose gateway is away
        return self

    async def _connection(self, client: httpx.AsyncClient, url: str) -> None:
        path = f"{url}/v1/executions/{self.execution_id}/events"
        headers = {"Authorization": f"Bearer {self.key}"}
        params = {}
        if self.last_id is not None:
            if self.resume == "header":
                headers["Last-Event-ID"] = self.last_id
            else:
                params["after"] = self.last_id
        async with client.stream("GET", path, headers=headers, params=params) as response:
            if response.status_code == 503:
                return
            assert response.status_code == 200, response.status_code
            async for name, event_id, data in _events(response):
                self._take(name, data)
                self.last_id = event_id
                if self.end is not None:
                    return

    def _take(self, name: str, data: dict[str, Any]) -> None:
        self.names.append(name)
        if name == "end":
            self.end = data
        if name != "delta":
            return
        attempt, text = self.texts.get(data["node"], (0, ""))
        assert data["attempt"] >= attempt, "no word of an older start"
        if data["attempt"] > attempt:
            text = ""
        assert data["offset"] == len(text), "neither a gap nor a repeat"
        self.texts[data["node"]] = (data["attempt"], text + data["text"])


async def _events(response: httpx.Response) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """Split at line feeds only: texts may hold other separators."""
    rest = b""
    async for piece in response.aiter_bytes():
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
            if b"data" in fields:
                yield fields[b"event"].decode(), fields[b"id"].decode(), orjson.loads(fields[b"data"])
