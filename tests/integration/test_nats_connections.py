"""Connections to NATS: a flush sends all, and where somebody is cancelled, none stays open and none goes deaf."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from deploy.local.nats_server import NatsServer
from shared import nats
from shared.broker import Broker
from shared.tasks import spawn
from tests.support.waiting import until


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, "asyncio.Queue[asyncio.StreamReader]"]]:
    """A server that takes clients and says nothing, as one that was stopped in between."""
    taken: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
    writers = []

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        taken.put_nowait(reader)

    async with await asyncio.start_server(take, "127.0.0.1", 0) as listening:
        yield f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}", taken
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def _connect(url: str) -> None:
    await nats.connect(url, "test", lambda _: None)


async def _start(url: str) -> None:
    async with Broker(url, "test", lambda _: None):
        pass


@pytest.mark.parametrize("connecting", [_connect, _start])
async def test_who_is_cancelled_while_it_connects_leaves_nothing_open(connecting: object) -> None:
    async with silent() as (url, taken):
        task = spawn(connecting(url), name="connecting")  # type: ignore[operator]
        reader = await taken.get()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        async with asyncio.timeout(5):
            assert await reader.read() == b""


async def test_a_broker_whose_stop_is_cancelled_leaves_nothing_open(server: NatsServer) -> None:
    for steps in range(12):
        broker = Broker(server.url, "test", lambda _: None)
        connection = await broker.connect()
        task = spawn(broker.stop(), name="stopping")
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if steps:  # else it has not begun to stop
            assert connection.is_closed, steps
        else:
            await broker.stop()
    await until(lambda: not _sockets(server.ports.client), seconds=5)


def _sockets(port: int) -> list[object]:
    found = psutil.Process().net_connections("tcp")
    return [one for one in found if one.raddr and one.raddr.port == port]


async def test_a_connection_hears_on_when_a_flush_is_cancelled(server: NatsServer) -> None:
    connection = await nats.connect(server.url, "test")
    flushing = spawn(connection.flush(), name="flush")
    await until(lambda: connection._pongs, pause=0)
    flushing.cancel()
    await asyncio.wait([flushing])
    assert flushing.cancelled()
    await connection.flush(5)
    assert await connection.rtt(5) > 0
    await connection.close()


async def test_a_flush_returns_when_what_was_subscribed_before_is_at_the_server() -> None:
    heard = bytearray()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576}\r\n')
        while line := await reader.readline():
            heard.extend(line)
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as listening:
        connection = await nats.connect(f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}", "test")
        await connection.subscribe("what.matters")
        await connection.flush()
        assert bytes(heard).rfind(b"PING") > bytes(heard).find(b"SUB what.matters") > 0
        await connection.close()
