"""Answers the calls of the model API: reads the request, plays the script, keeps the ledger."""

import asyncio
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from deploy.local.standin import asked as asking
from deploy.local.standin import catalog, problems, script, wire
from deploy.local.standin import plan as planning
from deploy.local.standin.asked import Asked
from deploy.local.standin.bend import build
from deploy.local.standin.connection import Exchange
from deploy.local.standin.faults import Fault, Strikes
from deploy.local.standin.ledger import ClosedBy, Entry, Ledger
from deploy.local.standin.options import Options, WrongOption, parse, resolve, split_model, split_prompt
from deploy.local.standin.problems import Problem, Refused
from deploy.local.standin.rates import Rates
from deploy.local.standin.script import Ending, Frame, Kind, Script

_CALL = re.compile(r"/(v1beta|v1)/models/([^/]+?):(streamGenerateContent|generateContent|countTokens)")
_KEPT_HEADERS = ("traceparent", "tracestate", "user-agent", "x-goog-api-client", "x-standin", "accept")
_BAD_KEY = "bad-key"


@dataclass(slots=True)
class Room:
    """What all calls share. `defaults` are raw options, changed while the server runs."""

    ledger: Ledger
    start_defaults: Mapping[str, object]
    defaults: dict[str, object] = field(default_factory=dict)
    strikes: Strikes = field(default_factory=Strikes)
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True, slots=True)
class Call:
    version: str
    model: str  # as it was written, without instructions
    raw_options: Mapping[str, object]
    method: str
    query: Mapping[str, list[str]]


async def answer(room: Room, exchange: Exchange) -> bool:
    """Answers a POST of the model API; false if the request is something else."""
    request = exchange.request
    url = urlsplit(request.target)
    found = _CALL.fullmatch(unquote(url.path))
    if request.method != "POST" or found is None:
        return False
    entry = room.ledger.open(secrets.token_urlsafe(16), request.received_ns)
    exchange.on_gone = entry.close
    _describe(entry, exchange, found[2], found[3], parse_qs(url.query))
    try:
        name, instructions = split_model(found[2])
        call = Call(found[1], name, instructions, found[3], parse_qs(url.query))
        entry.model = name
        await _serve(room, exchange, entry, call)
    except Refused as error:
        await refuse(exchange, entry, error.problem)
    except WrongOption as error:
        await refuse(exchange, entry, problems.invalid(str(error)))
    return True


def api_key(exchange: Exchange, query: Mapping[str, list[str]]) -> str:
    return exchange.request.headers.get("x-goog-api-key") or query.get("key", [""])[0]


def check_key(key: str) -> None:
    if key in ("", _BAD_KEY):
        raise Refused(problems.bad_key())


def _describe(
    entry: Entry, exchange: Exchange, model: str, method: str, query: Mapping[str, list[str]]
) -> None:
    request = exchange.request
    key = api_key(exchange, query)
    entry.model, entry.method, entry.stream = model, method, method == "streamGenerateContent"
    entry.api_key_tail = key[-4:] if len(key) >= 12 else ""
    entry.headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
    entry.body_digest = blake2b(request.body, digest_size=16).hexdigest()
    entry.body_size = len(request.body)


async def _serve(room: Room, exchange: Exchange, entry: Entry, call: Call) -> None:
    check_key(api_key(exchange, call.query))
    answering = catalog.answering_model(call.model, call.version)
    if answering is None:
        raise Refused(problems.unknown_model(call.model, call.version, call.method))
    if call.method == "countTokens":
        await _count(exchange, entry)
        return
    asked = asking.read(exchange.request.body)
    options = await told(room, exchange, entry, asked, call.model, call.raw_options)
    if options.fault.status is not None:
        raise Refused(
            problems.for_status(options.fault.status, call.model, call.version, call.method, options)
        )
    entry.model_version = options.answer or answering
    stamp = wire.Stamp(entry.model_version, entry.id)
    play = build(planned(asked, call.model, options), stamp, options)
    entry.text = play.text
    await _play(exchange, entry, call, play, stamp)


async def told(
    room: Room, exchange: Exchange, entry: Entry, asked: Asked, model: str, raw: Mapping[str, object]
) -> Options:
    """What the call is told to do, after the pause of a refusal. Raises Refused, when its model is over its rate."""
    entry.keep_prompt(asked.text)
    _, marks = split_prompt(asked.prompt)
    _, system_marks = split_prompt(asked.system)
    first, _ = split_prompt(asked.first)
    header = parse(exchange.request.headers.get("x-standin", ""))
    options = resolve(room.start_defaults, room.defaults, raw, header, system_marks, marks)
    entry.options = options.model_dump(mode="json", exclude_unset=True)
    options = _timed(room, options, planning.digest(model, first))
    if options.rpm is not None and (delay := room.rates.over(model, options.rpm, time.monotonic())):
        raise Refused(problems.exhausted(model, round(delay, 3)))
    if options.fault.status is not None:
        await _pause(options.first_ms)
    return options


def planned(asked: Asked, model: str, options: Options) -> planning.Plan:
    clean, _ = split_prompt(asked.prompt)
    system, _ = split_prompt(asked.system)
    return planning.plan(asked, clean or system, model, options)


def _timed(room: Room, options: Options, prompt_digest: str) -> Options:
    """Without the fault, once it has happened as often as it should."""
    if options.times is None or room.strikes.strikes(options.id or prompt_digest, options.times):
        return options
    return options.model_copy(update={"fault": Fault.NONE})


async def _count(exchange: Exchange, entry: Entry) -> None:
    body = asking.read_object(exchange.request.body)
    inner = asking.pick(body, "generateContentRequest")
    asked = asking.read_request(inner if isinstance(inner, dict) else body)
    entry.keep_prompt(asked.text)
    await _whole(exchange, entry, 200, Frame(wire.count(asked.prompt_tokens), 0, 0))


async def _play(exchange: Exchange, entry: Entry, call: Call, play: Script, stamp: wire.Stamp) -> None:
    if not entry.stream:
        await _play_whole(exchange, entry, play, stamp)
    elif call.query.get("alt") == ["sse"]:
        await play_stream(exchange, entry, play, wire.EVENT_STREAM)
    else:
        await play_stream(exchange, entry, play, wire.JSON_ARRAY)


async def play_stream(exchange: Exchange, entry: Entry, play: Script, framing: wire.Framing) -> None:
    """Keeps to a timetable counted from the start, so that slow writes do not slow the pace."""
    clock = asyncio.get_running_loop().time
    due = clock()
    for number, frame in enumerate(play.frames):
        due += frame.pause_ms / 1000
        await _pause((due - clock()) * 1000)
        if number == 0:
            _begin(exchange, entry, framing.content_type)
        exchange.write(frame.data if frame.kind is Kind.RAW else framing.framed(number, frame.data))
        entry.sent(time.time_ns(), frame.chars, frame.usage, frame.finish)
        await exchange.drain()
    await _pause(play.ending_pause_ms)
    if play.ending is not Ending.COMPLETE:
        await _break_off(exchange, entry, play.ending, framing.content_type)
        return
    if not play.frames:
        _begin(exchange, entry, framing.content_type)
    if framing.tail:
        exchange.write(framing.tail)
    exchange.end()
    entry.close(ClosedBy.SERVER, time.time_ns())


async def _play_whole(exchange: Exchange, entry: Entry, play: Script, stamp: wire.Stamp) -> None:
    frame = script.whole(play, stamp)
    await _pause(frame.pause_ms)
    if frame.kind is Kind.ERROR:
        raise Refused(problems.overloaded())
    if play.ending is Ending.COMPLETE:
        await _whole(exchange, entry, 200, frame)
        return
    if play.frames:
        _begin(exchange, entry, wire.JSON, length=len(frame.data))
        exchange.write(frame.data[: len(frame.data) // 2])
    await _break_off(exchange, entry, play.ending, wire.JSON)


async def _break_off(exchange: Exchange, entry: Entry, ending: Ending, content_type: bytes) -> None:
    if ending is Ending.STALL:
        await asyncio.Event().wait()  # until the client leaves, which cancels this task
    if entry.status is None:
        _begin(exchange, entry, content_type)
    exchange.cut(reset=ending is Ending.RESET)
    entry.close(ClosedBy.SERVER, time.time_ns())


def _begin(exchange: Exchange, entry: Entry, content_type: bytes, length: int | None = None) -> None:
    exchange.begin(200, content_type, length)
    entry.status = 200


async def _whole(
    exchange: Exchange, entry: Entry, status: int, frame: Frame, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    entry.status = status
    exchange.begin(status, wire.JSON, len(frame.data), more)
    exchange.write(frame.data)
    if status == 200:
        entry.sent(time.time_ns(), frame.chars, frame.usage, frame.finish)
    exchange.end()
    entry.close(ClosedBy.SERVER, time.time_ns())
    await exchange.drain()


async def refuse(
    exchange: Exchange,
    entry: Entry,
    problem: Problem,
    dialect: wire.Dialect = wire.GEMINI,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    body = orjson.dumps(dialect.error(problem), option=orjson.OPT_INDENT_2)
    await _whole(exchange, entry, problem.code, Frame(body, 0, 0), more)


async def _pause(milliseconds: float) -> None:
    if milliseconds > 0:
        await asyncio.sleep(milliseconds / 1000)
