"""The HTTP server inside a process."""

import socket

from shared.asgi import listen


def test_a_body_does_not_wait_until_the_head_is_acknowledged() -> None:
    with listen("127.0.0.1", 0) as bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
