"""FastStream's broker on one of our connections (`shared.nats`), which it opens and closes whole, also when cancelled."""

import logging
from pathlib import Path
from types import TracebackType

from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.errors import Error
from pydantic import SecretStr

from shared.nats import OnClosed, connect


class Broker(NatsBroker):
    """Its own options for connections have no effect; `connect` has the same for all.

    FastStream's tracing and metrics middlewares cost 170 microseconds a message and name spans and labels by full
    subjects, ids included; use `telemetry.process_span` in handlers instead.
    """

    def __init__(
        self,
        url: str | SecretStr,
        name: str,
        on_closed: OnClosed,
        *,
        ca_file: Path | None = None,
        graceful_timeout: float | None = None,
    ) -> None:
        """`on_closed` hears only of a close that nobody here asked for. `graceful_timeout` is in seconds."""
        super().__init__(
            apply_types=False,  # what resolves a handler's arguments costs 0.3 ms a message
            graceful_timeout=graceful_timeout,
            logger=logging.getLogger("broker"),  # FastStream's own one writes colours to stderr
            log_level=logging.DEBUG,  # two lines for every message else; failures are logged as errors anyway
        )
        self._address = (url, name, on_closed)
        self._ca_file = ca_file

    async def _connect(self) -> Client:
        """Raises: Unavailable, Permanent. FastStream's own leaves an open connection behind when it is cancelled."""
        connection = await connect(*self._address, ca_file=self._ca_file)
        self.config.connect(connection)
        return connection

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Ends its subscriptions and its connection.

        One that can not take leave of its server, or is cancelled while it does, is closed all the same: it would come
        back by itself, and stay.
        """
        connection = self._connection
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        except* Error:
            pass  # the server is away
        finally:
            if connection is not None:
                await connection.close()
