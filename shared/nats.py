"""Connections to NATS, all with the same options: endless reconnects, quick notice of a dead link, every change logged.

What a user may publish and hear, the server decides (`deploy.nats.permissions`); a refusal is an error in the log.

A *closed* connection never comes back (an oversized message or a server that refuses the client does that), so it ends
the process; a supervisor starts a new one.
"""

import asyncio
import contextlib
import logging
import os
import random
import signal
import ssl
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.errors import Error
from pydantic import SecretStr

from shared import conventions as names
from shared.errors import Permanent, Unavailable
from shared.tasks import cancel_and_wait, spawn

FIRST_CONNECT_SECONDS = 15.0
PING_SECONDS = 5
"""With two pings outstanding, a half-open link is noticed within 15 s."""
PENDING_BYTES = 2 * 1024 * 1024
"""What is published while disconnected waits in this buffer and is sent late; beyond it, publishing raises."""

_DISTINCT = 1_000
"""So many error texts are told apart in one outage: those of refusals have ids in them."""

OnClosed = Callable[[str], None]
"""Called with the reason, once."""

_REFUSAL = "permissions violation"

_log = logging.getLogger(__name__)


class Connection(Client):
    """A client that knows whether it was closed on purpose, and whose calls may be cancelled at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    async def close(self) -> None:
        self.closing = True
        if self._transport is None:
            return  # it never came to connecting
        try:
            # The client cancels this task once, which can be lost; it would then come back by itself, and stay.
            if self._reconnection_task is not None and self._reconnection_task is not asyncio.current_task():
                await cancel_and_wait(self._reconnection_task)
            with contextlib.suppress(OSError):  # the other side is gone, so there is nobody to take leave of
                await super().close()
        finally:
            self._transport.close()  # type: ignore[no-untyped-call] # also if somebody cancels this

    async def drain(self) -> None:
        self.closing = True
        await super().drain()

    async def flush(self, timeout: int = 10) -> None:
        """Once it returns, the server has all that was published and subscribed before; `timeout` is in seconds.

        The client's own sends its ping ahead of what waits to be sent, so only a second one comes after it.
        Raises: nats.errors.FlushTimeoutError.
        """
        await super().flush(timeout)
        await super().flush(timeout)

    async def _process_pong(self) -> None:
        # The answer to a flush that was cancelled would end the client's read loop, and with it all that is heard.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.Future()
        await super()._process_pong()


def end_process(reason: str) -> None:
    """Asks this very process to shut down in the ordinary way."""
    os.kill(os.getpid(), signal.SIGTERM)


async def connect(
    url: str | SecretStr,
    name: str,
    on_closed: OnClosed = end_process,
    on_back: Callable[[], None] = lambda: None,
    *,
    ca_file: Path | None = None,
) -> Connection:
    """A connected client; `url` may list several servers, separated by commas.

    With `tls://` nothing is sent before the server's certificate is checked: by `ca_file` (PEM) if given, else by the
    system's authorities. The server must have `handshake_first`.

    `on_closed` hears only of a close that nobody here asked for; `on_back` of every connection after the first.
    Raises: Unavailable, when no server takes the client within 15 s; Permanent, when the URL makes no sense.
    """
    context = _tls(url, ca_file)
    # Without the handshake first the client would send its password in the clear to a server that offers no TLS.
    options: dict[str, Any] = {"tls": context, "tls_handshake_first": True} if context is not None else {}
    client = Connection()
    reporter = _Reporter(name, on_closed, on_back, closing=lambda: client.closing)
    attempt = spawn(client.connect(**_options(url, name, reporter), **options), name="NATS connect")
    try:
        await asyncio.wait([attempt], timeout=FIRST_CONNECT_SECONDS)
        await cancel_and_wait(attempt)
        return _connected(client, attempt)
    except BaseException:
        # An attempt that was cancelled leaves its socket open.
        await cancel_and_wait(attempt)
        await client.close()
        raise


def _connected(client: Connection, attempt: asyncio.Task[None]) -> Connection:
    """Raises: Unavailable, Permanent."""
    if attempt.cancelled():
        why = f": {client.last_error}" if client.last_error else ""
        raise Unavailable(f"no connection to NATS within {FIRST_CONNECT_SECONDS:.0f} s{why}")
    try:
        attempt.result()
    except Error as error:
        raise Permanent(str(error)) from None
    return client


def inbox_prefix(user: str | None) -> str:
    """Under which answers to a user come; only that user may hear them. Without a user, the client's own default."""
    return f"_INBOX_{user}" if user else "_INBOX"


def pull_inbox(url: str | SecretStr) -> bytes:
    """The option `inbox_prefix` of FastStream's pull subscribers, which do not take it from their broker."""
    return f"{inbox_prefix(_user(_servers(url)))}.".encode()


def _servers(url: str | SecretStr) -> list[str]:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    return [server.strip() for server in text.split(",")]


def _user(servers: list[str]) -> str | None:
    """Raises: Permanent, without the URL, which has a password."""
    try:
        return urlsplit(servers[0]).username
    except ValueError:
        raise Permanent("NATS_URL is no URL such as nats://user:password@host:4222") from None


def _tls(url: str | SecretStr, ca_file: Path | None) -> ssl.SSLContext | None:
    """None for connections without TLS. Raises: Permanent."""
    secure = [server.startswith("tls://") for server in _servers(url)]
    if not any(secure):
        if ca_file is not None:
            raise Permanent("LEKHIKA_NATS_CA_FILE is set, so NATS_URL must begin with tls://")
        return None
    if not all(secure):
        raise Permanent("NATS_URL mixes tls:// with other servers; all of them must be tls://")
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Permanent(f"LEKHIKA_NATS_CA_FILE {ca_file} can not be read as PEM: {error}") from None


def _options(url: str | SecretStr, name: str, reporter: "_Reporter") -> dict[str, Any]:
    servers = _servers(url)
    return {
        "servers": servers,
        "inbox_prefix": inbox_prefix(_user(servers)),
        "name": name,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "connect_timeout": 2,
        # Differs between processes, so that they do not all come at once.
        "reconnect_time_wait": random.uniform(0.1, 0.5),  # noqa: S311 - no secret
        "ping_interval": PING_SECONDS,
        "max_outstanding_pings": 2,
        "pending_size": PENDING_BYTES,
        "drain_timeout": 5,
        **reporter.callbacks(),
    }


class _Reporter:
    """Logs changes of a connection. Of the errors in one outage only the first of each text is logged."""

    def __init__(
        self, name: str, on_closed: OnClosed, on_back: Callable[[], None], closing: Callable[[], bool]
    ) -> None:
        self._name = name
        self._on_closed = on_closed
        self._on_back = on_back
        self._closing = closing
        self._lost_at: float | None = None
        self._seen: set[str] = set()

    def callbacks(self) -> dict[str, Callable[..., Coroutine[Any, Any, None]]]:
        return {
            "error_cb": self._error,
            "disconnected_cb": self._disconnected,
            "reconnected_cb": self._reconnected,
            "closed_cb": self._closed,
        }

    async def _error(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        refused = _REFUSAL in text.lower()
        if refused:
            names.NATS_REFUSED.inc()
        if text not in self._seen and len(self._seen) < _DISTINCT:
            self._seen.add(text)
            _log.log(logging.ERROR if refused else logging.WARNING, "NATS %s: %s", self._name, text)

    async def _disconnected(self) -> None:
        if self._lost_at is None and not self._closing():
            self._lost_at = time.monotonic()
            _log.warning("NATS %s: disconnected", self._name)

    async def _reconnected(self) -> None:
        seconds = time.monotonic() - self._lost_at if self._lost_at is not None else 0.0
        self._lost_at = None
        self._seen.clear()
        _log.info("NATS %s: connected again after %.1f s", self._name, seconds)
        self._on_back()

    async def _closed(self) -> None:
        if not self._closing():
            self._on_closed("the connection to NATS was closed")
