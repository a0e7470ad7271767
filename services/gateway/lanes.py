"""Which lane a request goes to: a user's first few outstanding executions to `now`, what exceeds them to `later`.

`Outstanding` decides and is pure. `Lanes` feeds it from the gateway's own appends, the republished events and, once,
the read model; it promotes the next waiting execution of a user when one of his ends. All of it is a matter of
fairness only: counts that are off for a moment do no harm, and what was missed is found by asking the log.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from shared import subjects
from shared.db import Role, transaction
from shared.errors import Conflict, LekhikaError, Retryable
from shared.events import TERMINAL_TYPES, ExecutionRequeued
from shared.execution import OPEN, Status, fold
from shared.log import ExecutionLog
from shared.messages import TIME, parse_time
from shared.tables import executions
from shared.tasks import cancel_and_wait, spawn

PROMOTE_AFTER = 1.0
"""Seconds that an execution waits before it is promoted: what is taken at once needs no second place in a queue."""
TICK_SECONDS = 0.25
PROMOTIONS = 25
"""At most so many in one tick."""
VERIFY_SECONDS = 30.0
VERIFY_BATCH = 300

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    user_id: str
    waiting: bool
    """In a lane `later`, and taken by no executor."""
    since: float


@dataclass(slots=True)
class Outstanding:
    """The open executions of every user. Pure; `now` is a monotonic time in seconds."""

    per_user: int
    _open: dict[str, _Open] = field(default_factory=dict)
    _users: dict[str, dict[str, None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._open)

    def reserve(self, execution_id: str, user_id: str, now: float) -> str:
        """The lane for a new request, which counts from here on."""
        lane = (
            subjects.NOW
            if len(self._users.get(user_id, ())) < self.per_user
            else subjects.later_lane(user_id)
        )
        self.queued(execution_id, user_id, lane, now)
        return lane

    def queued(self, execution_id: str, user_id: str, lane: str, now: float) -> None:
        """It was put into a lane, for the first time or again."""
        self._open[execution_id] = _Open(user_id, lane != subjects.NOW, now)
        self._users.setdefault(user_id, {})[execution_id] = None

    def taken(self, execution_id: str) -> None:
        """An executor runs it: from whatever lane, it waits no more."""
        found = self._open.get(execution_id)
        if found is not None:
            found.waiting = False

    def gone(self, execution_id: str) -> None:
        """It has ended, or was never stored."""
        found = self._open.pop(execution_id, None)
        if found is not None:
            mine = self._users[found.user_id]
            mine.pop(execution_id, None)
            if not mine:
                del self._users[found.user_id]

    def knows(self, execution_id: str) -> bool:
        return execution_id in self._open

    def promotable(self, now: float, most: int) -> list[str]:
        """For each user with room in `now` the executions that have waited longest, at most `most` in all."""
        found: list[str] = []
        for ids in self._users.values():
            if len(found) >= most:
                break
            waiting = [key for key in ids if self._open[key].waiting]
            room = self.per_user - (len(ids) - len(waiting))
            found += [key for key in waiting[: max(0, room)] if now - self._open[key].since >= PROMOTE_AFTER]
        return found[:most]

    def unheard(self, before: float, most: int) -> list[str]:
        """Executions of which nothing was heard since `before`, the longest silent first, that are not waiting."""
        quiet = [
            (item.since, key) for key, item in self._open.items() if not item.waiting and item.since < before
        ]
        return [key for _, key in sorted(quiet)[:most]]

    def verified(self, execution_ids: Iterable[str], now: float) -> None:
        for key in execution_ids:
            if key in self._open:
                self._open[key].since = now


_HEARD = ("requested.>", "requeued.>", "started", "released", *TERMINAL_TYPES)


class Lanes:
    """Use as `async with lanes.running():`; until then nothing is heard."""

    def __init__(self, nc: Client, log: ExecutionLog, db: AsyncEngine, per_user: int) -> None:
        self._nc = nc
        self._execution_log = log
        self._db = db
        self._outstanding = Outstanding(per_user)
        self._ended_meanwhile: set[str] | None = set()
        self._announced: dict[str, asyncio.Future[datetime]] = {}
        self._stopping = asyncio.Event()

    def reserve(self, execution_id: str, user_id: str) -> str:
        return self._outstanding.reserve(execution_id, user_id, time.monotonic())

    def forget(self, execution_id: str) -> None:
        """The request was not stored after all."""
        self._outstanding.gone(execution_id)

    def __len__(self) -> int:
        return len(self._outstanding)

    @asynccontextmanager
    async def announced(self, execution_id: str) -> AsyncIterator[asyncio.Future[datetime]]:
        """Gives the server's time of the request that is stored within this block, once its copy was heard."""
        heard = self._announced[execution_id] = asyncio.get_running_loop().create_future()
        try:
            yield heard
        finally:
            self._announced.pop(execution_id, None)
            heard.cancel()

    async def hear(self, msg: Msg) -> None:
        """A republished event: its subject says all that is needed."""
        _, _, execution_id, kind, *rest = msg.subject.split(".")
        match kind:
            case "requested" | "requeued":
                self._announce(execution_id, msg)
                self._outstanding.queued(execution_id, rest[-1], ".".join(rest[:-1]), time.monotonic())
            case "started":
                self._outstanding.taken(execution_id)
            case "released":
                return  # its message goes back to the lane it was in
            case _:
                self._outstanding.gone(execution_id)
                if self._ended_meanwhile is not None:
                    self._ended_meanwhile.add(execution_id)

    def _announce(self, execution_id: str, msg: Msg) -> None:
        heard = self._announced.get(execution_id)
        if heard is not None and not heard.done():
            heard.set_result(parse_time((msg.headers or {})[TIME]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for kind in _HEARD:
                subscription = await self._nc.subscribe(subjects.committed("*", kind), cb=self.hear)
                stack.push_async_callback(subscription.unsubscribe)
            task = spawn(self._run(), name="lanes")
            stack.push_async_callback(cancel_and_wait, task)
            stack.callback(self._stopping.set)  # the client library can swallow a cancellation
            yield

    async def _run(self) -> None:
        loaded = False
        verified_at = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if not loaded:
                    await self._load()
                    loaded = True
                if now - verified_at >= VERIFY_SECONDS:
                    verified_at = now
                    await self._verify(now)
                for execution_id in self._outstanding.promotable(now, PROMOTIONS):
                    await self._promote(execution_id)
            except Retryable as error:
                _log.debug("lanes: trying again: %s", error)
            await asyncio.sleep(TICK_SECONDS)

    async def _load(self) -> None:
        """What was outstanding before this process began. What is heard meanwhile is newer."""
        columns = select(executions.c.id, executions.c.user_id, executions.c.lane, executions.c.status)
        query = columns.where(executions.c.ended_at.is_(None)).order_by(executions.c.created_at)
        async with transaction(self._db, role=Role.PROJECTOR) as connection:
            rows = (await connection.execute(query)).all()
        ended = self._ended_meanwhile or set()
        self._ended_meanwhile = None
        for row in rows:
            if row.id not in ended and row.status in OPEN and not self._outstanding.knows(row.id):
                self._outstanding.queued(row.id, row.user_id, row.lane or subjects.NOW, 0.0)
                if row.status != Status.QUEUED:
                    self._outstanding.taken(row.id)

    async def _verify(self, now: float) -> None:
        """Copies are hints: asks the log whether those that were silent for long have ended."""
        while quiet := self._outstanding.unheard(now - VERIFY_SECONDS, VERIFY_BATCH):
            for execution_id in await self._ended_of(quiet):
                self._outstanding.gone(execution_id)
            self._outstanding.verified(quiet, now)

    async def _ended_of(self, execution_ids: Sequence[str]) -> set[str]:
        ends = [subjects.event_subject(key, kind) for key in execution_ids for kind in TERMINAL_TYPES]
        return {recorded.execution_id for recorded in await self._execution_log.latest(ends)}

    async def _promote(self, execution_id: str) -> None:
        """Puts a waiting execution into `now`. Whoever else did something to it meanwhile is right."""
        try:
            state = fold(await self._execution_log.load(execution_id))
        except Retryable:
            raise
        except LekhikaError as error:  # an unreadable history is the executor's to end
            _log.warning("execution %s is not promoted: %s", execution_id, error)
            self._outstanding.taken(execution_id)
            return
        if state is None or state.ended:
            self._outstanding.gone(execution_id)
            return
        self._outstanding.taken(execution_id)
        if state.status is not Status.QUEUED or state.lane == subjects.NOW:
            return
        event = ExecutionRequeued(user_id=state.user_id, lane=subjects.NOW, reason="promoted")
        try:
            await self._execution_log.append(execution_id, event, state.last_seq)
        except Conflict:
            return
