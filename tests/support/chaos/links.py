"""A TCP proxy that can cut, hold and slow down what goes through it: one process's way to one server."""

import asyncio
import contextlib
import socket
import struct
import time

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close send RST."""


class Link:
    """Listens on a port of its own, which it keeps."""

    def __init__(self, name: str, upstream: int) -> None:
        self.name = name
        self.port = 0
        self.held: list[tuple[float, float]] = []
        """When nothing went through (Unix times)."""
        self._upstream = upstream
        self._open = asyncio.Event()
        self._open.set()
        self._delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Resets every connection."""
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def hold(self, seconds: float) -> None:
        """Nothing goes through, in either direction, and nobody is told."""
        began = time.time()
        self._open.clear()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._open.set()
            self.held.append((began, time.time()))

    async def slow(self, seconds: float, delay: float) -> None:
        """Every piece takes that much longer."""
        self._delay = delay
        try:
            await asyncio.sleep(seconds)
        finally:
            self._delay = 0.0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
        else:
            self._writers.add(back)
            try:
                await self._both(reader, writer, there, back)
            finally:
                self._writers.discard(back)
                back.transport.abort()
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        async with asyncio.TaskGroup() as group:
            ways = [group.create_task(self._pump(reader, back)), group.create_task(self._pump(there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open.wait()
                sink.write(data)
                await sink.drain()
