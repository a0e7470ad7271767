"""HTTP connections that can be dropped: closing one in order would wait for a reader that does not read."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.gateway.stream import ABORT


class DroppableConnection(HttpToolsProtocol):
    """Hands each request the means to drop its connection, as the ASGI extension `lekhika.abort`."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, Any] = {ABORT: self.transport.abort}
        self.scope["extensions"] = extensions
