"""The log: the one way to write an event, and the ways to read them back.

Every append carries the guard: the sequence of the execution's event before, checked by the server under one string
for all writers. So each decision about an execution is made exactly once, whoever races for it.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeoutError

from shared import conventions as metrics
from shared import subjects
from shared.errors import Conflict, LogFull, Permanent, Unavailable, UnknownEvent
from shared.events import (
    TERMINAL_TYPES,
    AnyEvent,
    ExecutionPruned,
    ExecutionRequested,
    ExecutionRequeued,
    Recorded,
    encode,
)
from shared.ids import new_id
from shared.jetstream import FULL, NOT_FOUND, api, direct_get, direct_request
from shared.messages import (
    GUARD,
    GUARD_SUBJECT,
    MESSAGE_ID,
    SEQUENCE,
    SUBJECT,
    TTL,
    from_copy,
    from_stored,
)

MAX_EVENT_BYTES = 128 * 1024
"""Of one event with its headers; anything larger goes to the bucket `artifacts` first."""
APPEND_SECONDS = 12.0
"""How long an append is tried: an election takes 5 to 8 s."""
TRY_SECONDS = 3.0
READ_BATCH = 512

_REFUSED = frozenset({10071, 10164})
_IN_FLIGHT = 10158
_TOO_LARGE = 10054

Headers = Mapping[str, str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """For each type of event of one execution the sequence of its last one; and whose execution it is."""

    user_id: str | None
    last: Mapping[str, int]

    @property
    def last_seq(self) -> int:
        return max(self.last.values())

    @property
    def over(self) -> bool:
        return any(kind in self.last for kind in ("pruned", *TERMINAL_TYPES))

    @property
    def runs(self) -> bool:
        """Somebody owns it, and nobody has asked for a stop."""
        if self.over or "stop_requested" in self.last:
            return False
        return self.last.get("started", 0) > self.last.get("released", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The type of an execution's newest event, and its sequence."""

    kind: str
    seq: int


class Log(Protocol):
    """What services need of the log. The same contract suite runs against every implementation."""

    async def append(
        self,
        execution_id: str,
        event: AnyEvent,
        after: int,
        *,
        headers: Headers | None = None,
        message_id: str | None = None,
    ) -> int:
        """Stores `event` as the next one after sequence `after` (0: as the first) and returns its sequence.

        Returns only when the server has it. `message_id` stands for one decision: give it only to repeat that very
        append after Unavailable. Raises: Conflict, when the execution is no longer at `after`; LogFull; Unavailable,
        when it is not known whether it was stored.
        """
        ...

    async def load(self, execution_id: str, after: int = 0) -> Sequence[Recorded]:
        """All events after that sequence, oldest first, including every one acknowledged before the call."""
        ...


class _Refused(Exception):
    pass


class ExecutionLog:
    """The log in JetStream."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def append(
        self,
        execution_id: str,
        event: AnyEvent,
        after: int,
        *,
        headers: Headers | None = None,
        message_id: str | None = None,
        whose_first: bool = True,
    ) -> int:
        """As in `Log`. Without `whose_first` a refusal is a conflict without a look at the log, although it may be the
        answer to a repetition of what was stored: for what does no harm when it is stored all the same.
        """
        guarded = {
            **(headers or {}),
            GUARD: str(after),
            GUARD_SUBJECT: subjects.aggregate(execution_id),
            MESSAGE_ID: message_id or new_id(),
        }
        if isinstance(event, ExecutionPruned):
            guarded[TTL] = f"{int(event.keep_seconds)}s"
        try:
            return await self._store(_subject(execution_id, event), encode(event), guarded)
        except _Refused:
            metrics.APPEND_CONFLICTS.inc()
            if not whose_first:
                raise Conflict(execution_id, after) from None
        return await self._who_won(execution_id, after, guarded[MESSAGE_ID])

    async def _store(self, subject: str, data: bytes, headers: dict[str, str]) -> int:
        """Raises: _Refused, when the guard does not fit, or this message was stored before."""
        size = len(data) + sum(len(key) + len(value) + 4 for key, value in headers.items()) + 16
        if size > MAX_EVENT_BYTES:
            raise Permanent(f"an event of {size:,} bytes is over the {MAX_EVENT_BYTES:,} that the log takes")
        began = asyncio.get_running_loop().time()
        deadline = began + APPEND_SECONDS
        while True:
            answer = await self._try(subject, data, headers)
            code = answer.get("error", {}).get("err_code")
            if answer.get("seq") and not answer.get("duplicate") and code is None:
                metrics.APPEND_SECONDS.observe(asyncio.get_running_loop().time() - began)
                return int(answer["seq"])
            if code in _REFUSED or answer.get("duplicate"):
                raise _Refused
            if code in FULL:
                raise LogFull("the log is at its size cap; nothing was stored")
            if code == _TOO_LARGE:
                raise Permanent(f"the log refuses an event of {size:,} bytes")
            if asyncio.get_running_loop().time() >= deadline:
                raise Unavailable(
                    f"append to {subjects.execution_of(subject)} was not acknowledged: {answer}"
                )
            await asyncio.sleep(0.002 if code == _IN_FLIGHT else 0.1)

    async def _try(self, subject: str, data: bytes, headers: dict[str, str]) -> dict[str, Any]:
        try:
            answer = await self._nc.request(subject, data, timeout=TRY_SECONDS, headers=headers)
        except (NatsTimeoutError, NoRespondersError, OutboundBufferLimitError) as error:
            return {"retry": type(error).__name__}
        except ConnectionClosedError as error:
            raise Unavailable("the connection to NATS is closed") from error
        parsed: dict[str, Any] = json.loads(answer.data)
        return parsed

    async def _who_won(self, execution_id: str, after: int, message_id: str) -> int:
        """A refusal may be the answer to our own retry. The first event after `after` tells whose it is."""
        later = await self.load(execution_id, after)
        if later and later[0].message_id == message_id:
            return later[0].seq
        raise Conflict(execution_id, after)

    async def last(self, execution_id: str) -> Recorded | None:
        """The newest event, as the stream's leader has it; None if there is none."""
        request = {"last_by_subj": subjects.aggregate(execution_id)}
        answer = await api(self._nc, f"STREAM.MSG.GET.{subjects.EXECUTIONS}", request)
        if "error" in answer:
            if answer["error"].get("err_code") == NOT_FOUND:
                return None
            raise Unavailable(f"reading the log failed: {answer['error'].get('description')}")
        return from_stored(answer["message"])

    async def tip(self, execution_id: str) -> Tip | None:
        """What the newest event is, without reading it, in one request. A follower may answer, and lag: only for a
        guarded append to build on.

        None when there is nothing. Raises: Unavailable.
        """
        request = {"last_by_subj": subjects.aggregate(execution_id)}
        answer = await direct_request(self._nc, subjects.EXECUTIONS, request)
        if answer is None:
            return None
        headers = answer.headers or {}
        return Tip(kind=headers[SUBJECT].split(".")[2], seq=int(headers[SEQUENCE]))

    async def load(self, execution_id: str, after: int = 0) -> Sequence[Recorded]:
        newest = await self.last(execution_id)
        if newest is None or newest.seq <= after:
            return []
        if newest.after <= after:
            return [newest]
        found: list[Recorded] = []
        deadline = asyncio.get_running_loop().time() + APPEND_SECONDS
        while not found or found[-1].seq < newest.seq:
            start = (found[-1].seq if found else after) + 1
            batch = await self._direct(execution_id, start)
            found.extend(batch)
            if not batch:
                # a follower that has not caught up answers direct gets too
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable(f"the history of {execution_id} could not be read up to {newest.seq}")
                await asyncio.sleep(0.01)
        return found

    async def _direct(self, execution_id: str, start: int) -> list[Recorded]:
        request = {"seq": start, "next_by_subj": subjects.aggregate(execution_id), "batch": READ_BATCH}
        return [from_copy(msg) async for msg in direct_get(self._nc, subjects.EXECUTIONS, request)]

    async def latest(self, wanted: Sequence[str]) -> Sequence[Recorded]:
        """The last event on each of these subjects (wildcards allowed), in one request; what can be read of them."""
        request = {"multi_last": list(wanted), "batch": 1024}
        found = []
        async for msg in direct_get(self._nc, subjects.EXECUTIONS, request):
            try:
                found.append(from_copy(msg))
            except UnknownEvent as error:  # of one execution; the others are not to suffer from it
                _log.warning("%s: %s", msg.subject, error)
        return found

    async def places(self, wanted: Sequence[str]) -> Mapping[str, int]:
        """As `latest`, also of what this release can not read: the sequence of the last event on each subject."""
        request = {"multi_last": list(wanted), "batch": 1024}
        found = [msg.headers or {} async for msg in direct_get(self._nc, subjects.EXECUTIONS, request)]
        return {headers[SUBJECT]: int(headers[SEQUENCE]) for headers in found}

    async def outline(self, execution_id: str) -> Outline | None:
        """What is there, without reading it. A follower may answer, and lag: only for a guarded append to build on.

        None when there is nothing. Raises: Unavailable.
        """
        last: dict[str, int] = {}
        user_id = None
        for subject, seq in (await self.places([subjects.aggregate(execution_id)])).items():
            kind = subject.split(".")[2]
            last[kind] = max(seq, last.get(kind, 0))
            if kind == "requested":
                user_id = subjects.user_of(subject)
        return Outline(user_id=user_id, last=last) if last else None

    @asynccontextmanager
    async def follow(self, execution_id: str) -> AsyncIterator["Follower"]:
        """Hears this execution's events from now on. Load the history after entering, not before."""
        follower = Follower(self, execution_id)
        subscription = await self._nc.subscribe(subjects.committed(execution_id), cb=follower.hear)
        await self._nc.flush()
        try:
            yield follower
        finally:
            if not self._nc.is_closed:
                await subscription.unsubscribe()


class Follower:
    """Events of one execution in order and without gaps.

    The republished copies are hints: some may be missing after a leader's death. A copy names its predecessor's
    sequence in its stored guard, so a gap shows with the next copy, and `catch_up` finds what no copy announced.
    """

    def __init__(self, log: Log, execution_id: str) -> None:
        self._log = log
        self._id = execution_id
        self._heard: asyncio.Queue[Recorded] = asyncio.Queue(maxsize=1024)
        self.position = 0

    async def hear(self, msg: Msg) -> None:
        self.offer(from_copy(msg))

    def offer(self, recorded: Recorded) -> None:
        """A copy, in whatever order and however often it comes."""
        if not self._heard.full():  # a full queue is a gap, and gaps are fetched
            self._heard.put_nowait(recorded)

    async def catch_up(self) -> Sequence[Recorded]:
        """Everything stored after the position."""
        found = await self._log.load(self._id, self.position)
        if found:
            self.position = found[-1].seq
        return found

    async def next(self) -> Sequence[Recorded]:
        """Waits for the next copy; returns it, with what was missing before it. Empty for a repeat."""
        recorded = await self._heard.get()
        if recorded.seq <= self.position:
            return []
        if recorded.after != self.position:
            return await self.catch_up()
        self.position = recorded.seq
        return [recorded]


def _subject(execution_id: str, event: AnyEvent) -> str:
    if isinstance(event, ExecutionRequested | ExecutionRequeued):
        return subjects.event_subject(execution_id, event.type, event.lane, event.user_id)
    return subjects.event_subject(execution_id, event.type)
