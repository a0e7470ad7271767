"""Which lane a request goes to: a user's first few outstanding executions to `now`, what exceeds them to `later`.

`services.gateway.outstanding` decides. `Lanes` feeds it from the gateway's own appends, the republished events and, at
its start, the read model; it promotes the next waiting execution of a user when one of his ends. All of it is a matter
of fairness only: counts that are off for a moment do no harm, and what was missed is found by asking the log.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.outstanding import Outstanding, Place
from services.gateway.projection_feed import log_end
from services.gateway.projection_store import NAME
from shared import subjects
from shared.db import Role, transaction
from shared.errors import Conflict, LekhikaError, Retryable
from shared.events import TERMINAL_TYPES, ExecutionRequeued
from shared.execution import OPEN, Status, fold
from shared.log import ExecutionLog
from shared.messages import SEQUENCE, TIME, parse_time
from shared.tables import executions, projector_positions
from shared.tasks import cancel_and_wait, spawn

TICK_SECONDS = 0.25
PROMOTIONS = 25
"""At most so many in one tick."""
RELOAD_SECONDS = 1.0
VERIFY_SECONDS = 30.0
VERIFY_BATCH = 300

_log = logging.getLogger(__name__)


_HEARD = ("requested.>", "requeued.>", "started", "released", *TERMINAL_TYPES)


class Lanes:
    """Use as `async with lanes.running():`; until then nothing is heard."""

    def __init__(self, nc: Client, log: ExecutionLog, db: AsyncEngine, per_user: int) -> None:
        self._nc = nc
        self._execution_log = log
        self._db = db
        self._outstanding = Outstanding(per_user)
        self._begun_at: int | None = None
        """The log's last sequence when this process had begun to listen."""
        self._announced: dict[str, asyncio.Future[datetime]] = {}
        self._stopping = asyncio.Event()

    def reserve(self, execution_id: str, user_id: str) -> str:
        return self._outstanding.reserve(execution_id, user_id, time.monotonic())

    def forget(self, execution_id: str) -> None:
        """The append of the request failed. Nothing is forgotten when its copy was heard: it was stored."""
        self._outstanding.withdraw(execution_id, time.monotonic())

    def runs(self, execution_id: str, user_id: str | None) -> bool:
        """Whether it was heard to run, and is this user's if one is given. False also when nothing is known."""
        return self._outstanding.runs(execution_id, user_id)

    def place(self, execution_id: str) -> Place | None:
        """Where a queued execution stands; None when it is not known."""
        return self._outstanding.place(execution_id, time.monotonic())

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
        """A republished event: subject and headers say all that is needed."""
        _, _, execution_id, kind, *rest = msg.subject.split(".")
        seq, now = int((msg.headers or {}).get(SEQUENCE, "0")), time.monotonic()
        match kind:
            case "requested" | "requeued":
                self._announce(execution_id, msg)
                self._outstanding.queued(execution_id, rest[-1], ".".join(rest[:-1]), now, seq)
            case "started":
                self._outstanding.started(execution_id, now, seq)
            case "released":
                self._outstanding.released(execution_id, now, seq)
            case _:
                self._outstanding.gone(execution_id, now)

    def _announce(self, execution_id: str, msg: Msg) -> None:
        heard = self._announced.get(execution_id)
        if heard is not None and not heard.done():
            heard.set_result(parse_time((msg.headers or {})[TIME]))

    @asynccontextmanager
    async def running(self, fail: Callable[[str], None]) -> AsyncIterator[None]:
        """`fail` is told when it ends by itself: without it nobody would be promoted any more."""

        def ended(task: asyncio.Task[None]) -> None:
            if not (task.cancelled() or self._stopping.is_set()):
                fail("the lanes ended")

        async with AsyncExitStack() as stack:
            for kind in _HEARD:
                subscription = await self._nc.subscribe(subjects.committed("*", kind), cb=self.hear)
                stack.push_async_callback(subscription.unsubscribe)
            task = spawn(self._run(), name="lanes")
            task.add_done_callback(ended)
            stack.push_async_callback(cancel_and_wait, task)
            stack.callback(self._stopping.set)  # the client library can swallow a cancellation
            yield

    async def _run(self) -> None:
        load_at: float | None = 0.0
        verified_at = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            if load_at is not None and now >= load_at:
                load_at = None if await self._loaded() else now + RELOAD_SECONDS
            try:
                if now - verified_at >= VERIFY_SECONDS:
                    verified_at = now
                    await self._verify(now)
                for execution_id in self._outstanding.promotable(now, PROMOTIONS):
                    await self._promote(execution_id)
            except Retryable as error:
                _log.debug("lanes: trying again: %s", error)
            await asyncio.sleep(TICK_SECONDS)

    async def _loaded(self) -> bool:
        """Without Postgres the rest goes on, with what was heard."""
        try:
            return await self._load()
        except Retryable as error:
            _log.debug("lanes: what was outstanding is not known yet: %s", error)
            return False

    async def _load(self) -> bool:
        """What was outstanding before this process began; what is heard meanwhile is newer.

        Gives whether that is all: the read model may still have been behind.
        """
        if self._begun_at is None:
            self._begun_at = await log_end(self._nc)
        columns = select(executions.c.id, executions.c.user_id, executions.c.lane, executions.c.status)
        query = columns.where(executions.c.ended_at.is_(None)).order_by(executions.c.created_at)
        shown = select(projector_positions.c.seq).where(projector_positions.c.name == NAME)
        async with transaction(self._db, role=Role.PROJECTOR) as connection:
            position = (await connection.execute(shown)).scalar_one_or_none() or 0
            rows = (await connection.execute(query)).all()
        now = time.monotonic()
        for row in rows:
            if row.status in OPEN:
                runs = row.status != Status.QUEUED
                self._outstanding.found(row.id, row.user_id, row.lane or subjects.NOW, now, runs=runs)
        return position >= self._begun_at

    async def _verify(self, now: float) -> None:
        """Copies are hints: asks the log whether those that were silent for long have ended."""
        while quiet := self._outstanding.unheard(now - VERIFY_SECONDS, VERIFY_BATCH):
            for execution_id in await self._ended_of(quiet):
                self._outstanding.gone(execution_id, now)
            self._outstanding.verified(quiet, now)

    async def _ended_of(self, execution_ids: Sequence[str]) -> set[str]:
        ends = [subjects.event_subject(key, kind) for key in execution_ids for kind in TERMINAL_TYPES]
        # not decoded: an end that another release has written is one as well
        return {subjects.execution_of(end) for end in await self._execution_log.places(ends)}

    async def _promote(self, execution_id: str) -> None:
        """Puts a waiting execution into `now`. Whoever else did something to it meanwhile is right."""
        now = time.monotonic()
        try:
            state = fold(await self._execution_log.load(execution_id))
        except Retryable:
            raise
        except LekhikaError as error:  # an unreadable history is the executor's to end
            _log.warning("execution %s is not promoted: %s", execution_id, error)
            self._outstanding.set_aside(execution_id, now)
            return
        if state is None or state.ended:
            self._outstanding.gone(execution_id, now)
            return
        if state.status is not Status.QUEUED:
            self._outstanding.started(execution_id, now, state.last_seq)
            return
        if state.lane == subjects.NOW:
            self._outstanding.queued(execution_id, state.user_id, state.lane, now, state.last_seq)
            return
        event = ExecutionRequeued(user_id=state.user_id, lane=subjects.NOW, reason="promoted")
        with contextlib.suppress(Conflict):  # its copy tells what happened instead
            seq = await self._execution_log.append(execution_id, event, state.last_seq)
            self._outstanding.queued(execution_id, state.user_id, subjects.NOW, now, seq)
