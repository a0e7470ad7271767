"""The live view over HTTP: one stream of server-sent events, bounded in memory and time, with an end.

The shell around `services.gateway.live`: it hears log events and deltas, fetches texts, and writes. A viewer that
reads too slowly is cut; the last id that it got lets it go on where it was.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import Response
from nats.aio.msg import Msg
from starlette.types import Receive, Scope, Send

from services.gateway.auth import Principal
from services.gateway.live import Cursor, LiveView, ServerEvent
from services.gateway.parts import Parts
from services.gateway.queries import load_own, not_found, retention
from shared import conventions as names
from shared import deltas, subjects
from shared.deltas import Delta
from shared.errors import LekhikaError, Unavailable
from shared.events import ExecutionFailed, ExecutionStopped, NodeCompleted, Recorded
from shared.ids import is_id
from shared.log import Follower
from shared.lost import read_deltas
from shared.tasks import spawn

if TYPE_CHECKING:
    from services.gateway.authenticator import Authenticator

QUEUE = 2048
QUEUE_CHARACTERS = 2_000_000
"""How many pieces and events, and how much text in them, may wait for one viewer; beyond it, it is too slow."""
PING_SECONDS = 15.0
POLL_SECONDS = 1.0
"""How often the log itself is asked: republished events are hints."""
REPAIR_SECONDS = 5.0
"""How often pieces that were missed on the way are looked for."""
PLACE_SECONDS = 2.0
"""How often the place of a queued execution is looked at."""
GOOD_SECONDS = 2.0
"""How often it is looked whether the viewer may still watch: what it came with expires, and a broadcast can be missed."""
WRITE_BYTES = 64 * 1024
ABORT = "lekhika.abort"
"""ASGI extension: a callable that drops the connection without waiting for its reader."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_RETRY = b"retry: 1000\n\n"
_PING = b": ping\n\n"

_log = logging.getLogger(__name__)


class TooSlow(LekhikaError):
    """The viewer does not take what there is for it."""


class _Left(LekhikaError):
    """The viewer has left, or is sent away because the process shuts down."""


def encode(event: ServerEvent) -> bytes:
    """One event on the wire. JSON has no line breaks of its own."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (
        event.event.encode(),
        event.id.encode(),
        orjson.dumps(event.data),
    )


class Inbox:
    """What was heard and not yet sent, in order of arrival; and whether the stream is over.

    Its end is a flag that is looked at, and no cancellation: the client library can swallow one.
    """

    def __init__(self) -> None:
        self._items: deque[Recorded | Delta] = deque()
        self._changed = asyncio.Event()
        self._over: LekhikaError | None = None
        self._characters = 0

    @property
    def empty(self) -> bool:
        return not self._items

    @property
    def is_over(self) -> bool:
        return self._over is not None

    def put(self, item: Recorded | Delta) -> None:
        if len(self._items) >= QUEUE or self._characters > QUEUE_CHARACTERS:
            self.close(TooSlow("more came than was read"))
        else:
            self._items.append(item)
            self._characters += _weight(item)
        self._changed.set()

    def close(self, reason: LekhikaError) -> None:
        """Nothing more is sent. The first reason counts."""
        self._over = self._over or reason
        self._changed.set()

    def check(self) -> None:
        """Raises: the reason why the stream is over, if it is."""
        if self._over is not None:
            raise self._over

    async def next(self) -> Recorded | Delta:
        """Raises: as `check`."""
        while not self._items:
            self.check()
            self._changed.clear()
            await self._changed.wait()
        self.check()
        item = self._items.popleft()
        self._characters -= _weight(item)
        return item

    async def hear_delta(self, msg: Msg) -> None:
        delta = deltas.decode(msg.data)
        if delta is not None:
            self.put(delta)


def _weight(item: Recorded | Delta) -> int:
    """Characters of text that it holds itself."""
    if isinstance(item, Delta):
        return len(item.text)
    match item.event:
        case NodeCompleted(output=output):
            return len(output.text or "")
        case ExecutionStopped(partials=partials) | ExecutionFailed(partials=partials):
            return sum(len(partial.output.text or "") for partial in partials)
        case _:
            return 0


class LiveResponse(Response):
    """Answers with the stream, or with a problem before its first byte."""

    def __init__(self, parts: Parts, principal: Principal, execution_id: str, cursor: Cursor | None) -> None:
        super().__init__()
        self._parts = parts
        self._principal = principal
        self._id = execution_id
        self._cursor = cursor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        abort: Callable[[], None] | None = scope.get("extensions", {}).get(ABORT)
        parts, inbox = self._parts, Inbox()
        if not is_id(self._id):
            raise not_found()
        async with _subscribed(parts, self._id, inbox), parts.log.follow(self._id) as follower:
            # Whatever is refused is refused here, as a problem, before the answer has begun.
            view, past = await self._opening(follower)
            writer = Writer(send, parts.settings.stream_send_seconds)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            with names.LIVE_VIEWERS.track_inprogress():
                try:
                    watches = self._watches(receive, inbox)
                    async with _watched(watches), _pumped(follower, inbox):
                        with parts.authenticator.watching(self._principal, partial(_must_ask_again, inbox)):
                            await self._show(writer, view, past, inbox)
                except _Left:
                    await writer.end()
                except TooSlow:
                    names.SSE_DROPPED.inc()
                    _log.info("a viewer of %s reads too slowly and was cut", self._id)
                    if abort is not None:
                        abort()
                except LekhikaError as error:  # it comes again, and is told as a problem if that lasts
                    _log.warning("the live view of %s ends early: %s", self._id, error)
                    await writer.end()

    def _watches(self, receive: Receive, inbox: Inbox) -> Mapping[str, Coroutine[Any, Any, None]]:
        """What closes the inbox, by its name."""
        return {
            "viewer leaves": _until_left(receive, inbox),
            "viewer at shutdown": _until_set(self._parts.drain, inbox),
            "viewer may watch": _while_good(self._parts.authenticator, self._principal, inbox),
        }

    async def _opening(self, follower: Follower) -> tuple[LiveView, deque[Recorded]]:
        """The view and its history, which `_show` takes: streams are long, and nobody else is to hold it."""
        history, state = await load_own(self._parts, self._principal, self._id)
        view = LiveView(await self._parts.bodies.of(state.body), retention(self._parts), self._cursor)
        view.place = self._parts.lanes.place(self._id)
        follower.position = history[-1].seq
        return view, deque(history)

    async def _show(self, writer: "Writer", view: LiveView, past: deque[Recorded], inbox: Inbox) -> None:
        await writer.write(_RETRY + encode(view.open(past)))
        while past:
            inbox.check()
            await self._take(writer, view, past.popleft())
        if not view.ended:
            await self._read_pieces(writer, view)
            await writer.flush()
            await self._follow(writer, view, inbox)
        await writer.flush()
        await writer.end()

    async def _follow(self, writer: "Writer", view: LiveView, inbox: Inbox) -> None:
        repair_at = time.monotonic() + REPAIR_SECONDS
        while not view.ended:
            item = await _heard(view, inbox)
            if item is None:
                await self._idle(writer, view)
            elif isinstance(item, Recorded):
                await self._take(writer, view, item)
            else:
                await self._pieces(writer, view, [item])
            if view.has_gap and time.monotonic() >= repair_at:
                repair_at = time.monotonic() + REPAIR_SECONDS
                await self._read_pieces(writer, view)
            if inbox.empty:
                await writer.flush()

    async def _idle(self, writer: "Writer", view: LiveView) -> None:
        for event in view.placed(self._parts.lanes.place(self._id)):
            await writer.add(encode(event))
        if time.monotonic() - writer.written_at >= PING_SECONDS:
            await writer.add(_PING)

    async def _read_pieces(self, writer: "Writer", view: LiveView) -> None:
        """What the stream of deltas still has. Without it the texts come when their nodes are completed."""
        try:
            await self._pieces(writer, view, await read_deltas(self._parts.nc, self._id))
        except Unavailable as error:
            _log.info("deltas of %s can not be read: %s", self._id, error)

    async def _take(self, writer: "Writer", view: LiveView, recorded: Recorded) -> None:
        texts = {wanted.node: await self._parts.texts.of(wanted.text) for wanted in view.wanted(recorded)}
        view.place = self._parts.lanes.place(self._id)
        for event in view.take(recorded, texts):
            await writer.add(encode(event))

    async def _pieces(self, writer: "Writer", view: LiveView, pieces: Iterable[Delta]) -> None:
        for piece in pieces:
            for event in view.piece(piece):
                await writer.add(encode(event))


async def _heard(view: LiveView, inbox: Inbox) -> Recorded | Delta | None:
    """What comes next; None when nothing does for so long that there is something else to do."""
    most = PLACE_SECONDS if view.queued else REPAIR_SECONDS if view.has_gap else PING_SECONDS
    try:
        async with asyncio.timeout(most):
            return await inbox.next()
    except TimeoutError:
        return None


class Writer:
    """Sends in chunks of up to 64 KiB. Raises: TooSlow, when the reader takes nothing for `seconds`."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send = send
        self._seconds = seconds
        self._waiting: list[bytes] = []
        self._size = 0
        self.written_at = time.monotonic()

    async def add(self, data: bytes) -> None:
        """Sent with the next flush, or when enough has come together."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= WRITE_BYTES:
            await self.flush()

    async def write(self, data: bytes) -> None:
        await self.add(data)
        await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            await self._body(data, more=True)
            self.written_at = time.monotonic()

    async def end(self) -> None:
        """The end of the body, so that the viewer sees an end and no cut. Does nothing once it has left."""
        self._waiting.clear()
        with contextlib.suppress(OSError):
            await self._body(b"", more=False)

    async def _body(self, data: bytes, *, more: bool) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise TooSlow(f"nothing was read for {self._seconds:.0f} s") from None


async def _until_left(receive: Receive, inbox: Inbox) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    inbox.close(_Left("the viewer has left"))


async def _until_set(drain: asyncio.Event, inbox: Inbox) -> None:
    await drain.wait()
    inbox.close(_Left("the process shuts down"))


async def _while_good(authenticator: "Authenticator", principal: Principal, inbox: Inbox) -> None:
    with contextlib.suppress(Unavailable):  # a new request would not be let in either
        while await authenticator.stands(principal):  # noqa: ASYNC110 - of what expires nobody tells
            await asyncio.sleep(GOOD_SECONDS)
    _must_ask_again(inbox)


def _must_ask_again(inbox: Inbox) -> None:
    """Whoever may still watch comes again and resumes; with a revoked or expired key nobody does."""
    inbox.close(_Left("the viewer's key, session or account was changed, or has expired"))


@contextlib.asynccontextmanager
async def _watched(watches: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """They run beside the block."""
    tasks = [spawn(watch, name=name) for name, watch in watches.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def _pumped(follower: Follower, inbox: Inbox) -> AsyncIterator[None]:
    pump = spawn(_pump(follower, inbox), name="viewer's events")
    try:
        yield
    finally:
        inbox.close(_Left("the stream has ended"))
        pump.cancel()


async def _pump(follower: Follower, inbox: Inbox) -> None:
    """Log events into the inbox, in order and without gaps, also those that no copy announced."""
    while not inbox.is_over:
        try:
            for recorded in await _news(follower):
                inbox.put(recorded)
        except Unavailable as error:  # asked again in a second
            _log.info("the live view waits for the log: %s", error)
        except LekhikaError as error:  # an event that can not be read
            inbox.close(error)


async def _news(follower: Follower) -> Sequence[Recorded]:
    try:
        async with asyncio.timeout(POLL_SECONDS):
            return await follower.next()
    except TimeoutError:
        return await follower.catch_up()


@contextlib.asynccontextmanager
async def _subscribed(parts: Parts, execution_id: str, inbox: Inbox) -> AsyncIterator[None]:
    subscription = await parts.nc.subscribe(subjects.deltas(execution_id), cb=inbox.hear_delta)
    try:
        yield
    finally:
        if not parts.nc.is_closed:
            await subscription.unsubscribe()
