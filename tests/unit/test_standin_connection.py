"""The stand-in's side of a connection whose client has just gone."""

import asyncio
import socket

import h11
import pytest

from deploy.local.standin.connection import Connection


async def nobody(_: object) -> None:
    """Answers nothing."""


async def test_a_write_after_the_client_has_gone_ends_the_answer_as_a_lost_connection_does() -> None:
    """uvloop raises RuntimeError for it, which would end the whole connection as an unhandled error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader, writer = await asyncio.open_connection(*server.getsockname())
    connection = Connection(reader, writer, nobody)
    connection._http.receive_data(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert isinstance(connection._http.next_event(), h11.Request)
    writer.transport.abort()
    with pytest.raises(ConnectionResetError):
        connection.send(h11.Response(status_code=200, headers=[]))
