"""The listening server and its routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from deploy.local.standin import admin, calls, catalog, chat, problems
from deploy.local.standin.calls import Room
from deploy.local.standin.connection import Connection, Exchange
from deploy.local.standin.ledger import Ledger
from deploy.local.standin.options import resolve
from deploy.local.standin.problems import Problem, Refused
from deploy.local.standin.settings import Settings
from deploy.local.standin.wire import JSON

_LAST_MOMENTS_S = 2.0


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """Listens and yields the base URL; on leaving, breaks off every connection."""
    start_defaults = settings.options()
    resolve(start_defaults)
    room = Room(Ledger(settings.ledger_entries), start_defaults)
    open_connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this callback as a task
        open_connections[task] = writer
        try:
            await Connection(reader, writer, lambda exchange: answer(room, exchange)).serve()
        finally:
            del open_connections[task]

    server = await asyncio.start_server(connected, settings.host, settings.port, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        server.close()
        for writer in open_connections.values():
            writer.transport.abort()
        if open_connections:
            await asyncio.wait(list(open_connections), timeout=_LAST_MOMENTS_S)


async def answer(room: Room, exchange: Exchange) -> None:
    if await calls.answer(room, exchange) or await chat.answer(room, exchange):
        return
    if await admin.answer(room, exchange):
        return
    status, body = _page(exchange)
    await exchange.reply(status, orjson.dumps(body), JSON)


def _page(exchange: Exchange) -> tuple[int, dict[str, object]]:
    """The list of models, one model, health."""
    url = urlsplit(exchange.request.target)
    steps = unquote(url.path).strip("/").split("/")
    try:
        match [exchange.request.method, *steps]:
            case ["GET", "livez" | "readyz"]:
                return 200, {"status": "ok"}
            case ["GET", "v1", "models"] if "authorization" in exchange.request.headers:
                return 200, chat.models()
            case ["GET", ("v1" | "v1beta") as version, "models"]:
                calls.check_key(calls.api_key(exchange, parse_qs(url.query)))
                return 200, {"models": [catalog.describe(name) for name in catalog.names(version)]}
            case ["GET", ("v1" | "v1beta") as version, "models", name]:
                calls.check_key(calls.api_key(exchange, parse_qs(url.query)))
                if catalog.answering_model(name, version) is None:
                    raise Refused(problems.unknown_model(name, version, "generateContent"))
                return 200, catalog.describe(name)
            case _:
                raise Refused(Problem(404, "NOT_FOUND", "Requested entity was not found."))
    except Refused as error:
        return error.problem.code, error.problem.body()
