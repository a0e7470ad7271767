"""The stand-in's own pages, below /admin: its ledger and its defaults."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from deploy.local.standin.calls import Room
from deploy.local.standin.connection import Exchange
from deploy.local.standin.options import WrongOption, resolve
from deploy.local.standin.wire import JSON

_LONGEST_WAIT_S = 600.0
_LEDGER = "/admin/ledger"


class _Wrong(Exception):
    """A query that can not be read; the text says why."""


async def answer(room: Room, exchange: Exchange) -> bool:
    """Answers a request below /admin; false if it is elsewhere."""
    url = urlsplit(exchange.request.target)
    if not url.path.startswith("/admin/"):
        return False
    try:
        status, body = await _route(room, exchange, url.path, parse_qs(url.query))
    except (_Wrong, WrongOption) as error:
        status, body = 400, {"error": str(error)}
    await exchange.reply(status, orjson.dumps(body), JSON)
    return True


async def _route(
    room: Room, exchange: Exchange, path: str, query: Mapping[str, list[str]]
) -> tuple[int, dict[str, Any]]:
    match (exchange.request.method, path):
        case ("GET", "/admin/ledger"):
            contains = query.get("contains", [""])[0]
            rows = room.ledger.after(
                int(_number(query, "after", 0)), int(_number(query, "limit", 1000)), contains
            )
            return 200, {"items": [entry.row() for entry in rows]}
        case ("DELETE", "/admin/ledger"):
            room.ledger.clear()
            room.strikes.clear()
            room.rates.clear()
            return 200, room.ledger.summary()
        case ("GET", "/admin/ledger/summary"):
            return 200, room.ledger.summary()
        case ("GET", "/admin/wait"):
            return await _wait(room, query)
        case ("GET", "/admin/defaults"):
            return 200, _defaults(room)
        case ("PUT", "/admin/defaults"):
            room.defaults = _options(exchange.request.body)
            return 200, _defaults(room)
        case ("GET", _) if path.startswith(_LEDGER + "/"):
            entry = room.ledger.find(path.removeprefix(_LEDGER + "/"))
            return (404, {"error": "no such call, or not any more"}) if entry is None else (200, entry.row())
        case _:
            return 404, {"error": f"no {exchange.request.method} {path}"}


async def _wait(room: Room, query: Mapping[str, list[str]]) -> tuple[int, dict[str, Any]]:
    """200 as soon as the counts are reached, 408 if they are not in time."""
    wanted = {name: int(_number(query, name, 0)) for name in room.ledger.counts() if name in query}
    contains = query.get("contains", [""])[0]
    if unknown := set(query) - set(wanted) - {"contains", "timeout"}:
        raise _Wrong(f"{', '.join(sorted(unknown))}: nothing that can be waited for")
    met = await room.ledger.wait(wanted, min(_number(query, "timeout", 10.0), _LONGEST_WAIT_S), contains)
    return (200 if met else 408), {"met": met, **room.ledger.summary()}


def _number(query: Mapping[str, list[str]], name: str, default: float) -> float:
    text = query.get(name, [""])[0]
    if not text:
        return default
    try:
        return float(text)
    except ValueError as error:
        raise _Wrong(f"{name} must be a number, not {text!r}") from error


def _options(body: bytes) -> dict[str, object]:
    try:
        options = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Wrong(f"not JSON: {error}") from error
    if not isinstance(options, dict):
        raise _Wrong("options must be a JSON object")
    resolve(options)
    return options


def _defaults(room: Room) -> dict[str, Any]:
    return resolve(room.start_defaults, room.defaults).model_dump(mode="json")
