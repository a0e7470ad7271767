"""A TCP cable between a client and NATS that tests cut, or hold so that nothing gets through and nobody notices."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from shared.tasks import spawn

_CONNECT = re.compile(rb"CONNECT (\{.*?\})\r\n")


class _Line:
    """One connection. `name` is what the client calls itself."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.name = ""
        self.flows = asyncio.Event()
        self.flows.set()
        self.near, self.far = near, far

    def cut(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()
        self.flows.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if writer is self.far and not self.name and (found := _CONNECT.search(data)):
                    self.name = json.loads(found[1]).get("name", "")
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class Cable:
    """Use as `async with cable(server.url) as made:` and give `made.url` to the client."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self.url = ""
        self.lines: list[_Line] = []

    def listens_on(self, port: int) -> None:
        credentials = self._target.netloc.rpartition("@")[0]
        self.url = urlunsplit((self._target.scheme, f"{credentials}@127.0.0.1:{port}", "", "", ""))

    async def plug(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, far = await asyncio.open_connection(self._target.hostname, self._target.port)
        except ConnectionError:
            writer.close()
            return
        line = _Line(writer, far)
        self.lines.append(line)
        try:
            ways = [
                spawn(line.carry(reader, far), name="there"),
                spawn(line.carry(back, writer), name="back"),
            ]
            await asyncio.wait(ways)
        finally:
            self.lines.remove(line)

    def named(self, pattern: str) -> list[_Line]:
        """Lines of clients whose whole name matches."""
        return [line for line in self.lines if re.fullmatch(pattern, line.name)]

    def hold(self, pattern: str = ".*") -> None:
        """From now on nothing gets through to or from these clients; their connections stay open."""
        found = self.named(pattern)
        assert found, [line.name for line in self.lines]
        for line in found:
            line.flows.clear()

    def release(self) -> None:
        """What was held comes through, in order."""
        for line in self.lines:
            line.flows.set()

    def cut(self, pattern: str = ".*") -> None:
        found = self.named(pattern)
        assert found, [line.name for line in self.lines]
        for line in found:
            line.cut()


@asynccontextmanager
async def cable(url: str) -> AsyncIterator[Cable]:
    made = Cable(url)
    server = await asyncio.start_server(made.plug, "127.0.0.1", 0)
    made.listens_on(server.sockets[0].getsockname()[1])
    try:
        yield made
    finally:
        server.close()
        for line in list(made.lines):
            line.cut()
