"""From messages of the log to counted events: read, price, count, and only then acknowledge."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg
from opentelemetry.trace import Span, SpanKind
from sqlalchemy.exc import SQLAlchemyError

from services.analytics import measures
from services.analytics.ended import Ended, ended, origin_of
from services.analytics.prices import PriceCache
from services.analytics.rollup import NotCountable, entry_of
from services.analytics.store import Arrived, Counted, Reject, Store
from shared import conventions as names
from shared.errors import Unavailable, UnknownEvent
from shared.fault_points import Point, reach
from shared.logs import get_logger
from shared.subjects import execution_of
from shared.tasks import cancel_and_wait, spawn
from shared.telemetry import extract, tracer

FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
"""Seconds between two tries while the database is away."""

AT_ONCE = 2
"""Batches that are read and stored at the same time, each by a process of Postgres."""
SLICE = 200
"""Events that are read in one go. Between two the connections have their turn: that of NATS, to send for the next batch
and to take in what comes, and that of Postgres.
"""

READER = "analytics"
_TRACE = "traceparent"
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What the messages of a batch say, and which of them can not be counted."""

    arrived: list[Arrived]
    rejects: list[Reject]


class Intake:
    """Takes batches of terminal events; acknowledges what is counted or set aside.

    A further batch is fetched while `AT_ONCE` are read and stored, and no more than that. While the database is away a
    batch is given back with a delay: nothing is lost. `problem` says why.
    """

    def __init__(self, store: Store, prices: PriceCache, stop: asyncio.Event) -> None:
        self._store = store
        self._prices = prices
        self._stop = stop
        self._delay = FIRST_DELAY
        self._handled = set[asyncio.Task[None]]()
        self.problem: str | None = None
        self.counted = 0

    async def take(self, messages: Sequence[Msg]) -> None:
        """Returns once there is room for the batch: then the next one may come while this one is read."""
        try:
            await self._room()
        except asyncio.CancelledError:
            await _answer(messages, delay=0.0)
            raise
        task = spawn(self._handle(messages), name="count a batch")
        self._handled.add(task)
        task.add_done_callback(self._handled.discard)

    async def _room(self) -> None:
        """Waits until one more can be taken."""
        while len(self._handled) >= AT_ONCE:
            await asyncio.wait(self._handled, return_when=asyncio.FIRST_COMPLETED)

    async def close(self, seconds: float) -> None:
        """Waits until all that was taken is counted; what takes longer than that is given back."""
        if self._handled:
            await asyncio.wait(self._handled, timeout=seconds)
        for task in tuple(self._handled):
            await cancel_and_wait(task)

    async def _handle(self, messages: Sequence[Msg]) -> None:
        try:
            batch = await self._prepare(messages)
            with _spans(messages):
                result = await self._count(batch)
        except (Unavailable, SQLAlchemyError) as error:
            await self._give_back(messages, error)
            return
        except asyncio.CancelledError:
            await _answer(messages, delay=0.0)  # another replica, or the next start, goes on at once
            raise
        reach(Point.ANALYTICS_COUNTED)
        await _answer(messages)
        self._delay, self.problem = FIRST_DELAY, None
        self.counted += result.new
        _measure(batch, result)

    async def _prepare(self, messages: Sequence[Msg]) -> _Batch:
        batch = _Batch([], [])
        for start in range(0, len(messages), SLICE):
            await asyncio.sleep(0)
            read, rejects = _read(messages[start : start + SLICE])
            prices = await self._prices.for_models(_models(read))
            batch.rejects.extend(rejects)
            for one in read:
                try:
                    entry = entry_of(one, prices)
                except NotCountable as error:
                    batch.rejects.append(Reject(origin=one, reason=error.reason, detail=str(error)))
                else:
                    batch.arrived.append(Arrived(seq=one.seq, body=one.body, entry=entry))
        return batch

    async def _count(self, batch: _Batch) -> Counted:
        result = await self._store.count(batch.arrived)
        rejects = [*batch.rejects, *result.rejects]
        if rejects:
            await self._store.set_aside(rejects)
            for reject in rejects:
                _alarm(reject)
        measures.UNPRICED.inc(sum(fact.cost is None for one in batch.arrived for fact in one.entry.facts))
        return Counted(new=result.new, rejects=rejects)

    async def _give_back(self, messages: Sequence[Msg], error: Exception) -> None:
        if self.problem is None:
            _log.warning("the database can not be written; events wait in the log", error=str(error))
        self.problem = f"the database can not be written: {error}"
        await _answer(messages, delay=self._delay)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._delay):
                await self._stop.wait()
        self._delay = min(self._delay * 2, LONGEST_DELAY)


def _read(messages: Sequence[Msg]) -> tuple[list[Ended], list[Reject]]:
    read, rejects = [], []
    for message in messages:
        try:
            read.append(ended(message))
        except UnknownEvent as error:
            rejects.append(Reject(origin=origin_of(message), reason="unreadable", detail=str(error)))
    return read, rejects


def _models(read: Iterable[Ended]) -> Iterator[str]:
    for one in read:
        for usage in one.outcome.summary.usage:
            yield usage.model


async def _answer(messages: Sequence[Msg], delay: float | None = None) -> None:
    """Acknowledges, or with a delay in seconds gives back.

    What can not be sent is delivered again, which is harmless: it is counted once.
    """
    with contextlib.suppress(nats.errors.Error):
        for message in messages:
            if delay is None:
                await message.ack()
            else:
                await message.nak(delay=delay)


def _alarm(reject: Reject) -> None:
    _log.error(
        "a terminal event could not be counted and was set aside",
        execution_id=reject.origin.execution_id,
        event_id=reject.origin.event_id,
        reason=reject.reason,
        detail=reject.detail,
    )


def _measure(batch: _Batch, result: Counted) -> None:
    times = [one.entry.mark.ended_at for one in batch.arrived] + [one.origin.time for one in batch.rejects]
    rejected = len(result.rejects)
    measures.COUNTED.labels("new").inc(result.new)
    measures.COUNTED.labels("repeated").inc(len(times) - result.new - rejected)
    measures.COUNTED.labels("set_aside").inc(rejected)
    names.SET_ASIDE.labels(READER).inc(rejected)
    measures.BATCH_EVENTS.observe(len(times))
    now = time.time()
    for ended_at in times:
        measures.BEHIND_SECONDS.observe(now - ended_at.timestamp())


@contextlib.contextmanager
def _spans(messages: Sequence[Msg]) -> Iterator[None]:
    """A span in the trace of every event that has one, so that a request's trace ends at its rollup."""
    spans = [_span(message) for message in messages if _TRACE in (message.headers or {})]
    try:
        yield
    finally:
        for span in spans:
            span.end()


def _span(message: Msg) -> Span:
    template = names.subject_template(message.subject)
    attributes = {
        names.MESSAGING_SYSTEM: names.NATS,
        names.MESSAGING_OPERATION_NAME: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_TEMPLATE: template,
        names.MESSAGING_DESTINATION: message.subject,
        names.EXECUTION_ID: execution_of(message.subject),
    }
    context = extract(message.headers)
    return tracer().start_span(f"process {template}", context, SpanKind.CONSUMER, attributes)
