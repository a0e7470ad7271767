"""Deletes executions whose time is over, so that a crash at any point leaves what the next round finishes.

First the tombstone, guarded: from then on the execution is gone for everybody. Then its artifacts, then its
events, the oldest first and the end last. So a tombstone whose predecessor still exists is an unfinished one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import nats.errors

from services.janitor import rows, stream
from services.janitor.facts import Facts
from services.janitor.parts import Parts
from services.janitor.policy import Action, Decision, artifacts_of, judge_ended, tombstone
from shared import conventions as names
from shared import subjects, telemetry
from shared.errors import Conflict, Unavailable, UnknownEvent
from shared.events import ExecutionPruned, Recorded
from shared.execution import fold
from shared.fault_points import Point, reach
from shared.jetstream import direct_get
from shared.logs import get_logger
from shared.messages import from_copy

PAGE = 200
LOOK_AGAIN_SECONDS = 60.0
"""What was pruned keeps its row for a moment, and what was refused once is likely to be refused again."""
BEGINNING = (datetime.min.replace(tzinfo=UTC) + timedelta(days=1), "00000000-0000-0000-0000-000000000000")
TOMBSTONES = "executions.*.pruned"
TOMBSTONES_AT_ONCE = 512

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """An execution that has ended, by its row, with its history in the log."""

    id: str
    history: Sequence[Recorded]
    decision: Decision
    erased: bool = False
    """Its owner's data is to go: a wish to keep it does not count."""


class Pruner:
    """`may_act` is asked before every act: whether this process still leads."""

    def __init__(self, parts: Parts, *, may_act: Callable[[], bool]) -> None:
        self._nc = parts.nc
        self._db = parts.db
        self._log = parts.log
        self._artifacts = parts.artifacts
        self._limits = parts.limits
        self._may_act = may_act
        self._not_before: dict[str, float] = {}
        self._swept = 0

    async def judge(self, facts: Facts, *, everything: bool = False) -> AsyncIterator[Judged]:
        """Every execution past its time, oldest first, those of erased people before them; with `everything` also
        what is plainly to be left.

        Raises: Unavailable.
        """
        async for row in self._rows(facts, everything=everything):
            if everything or not self._waits(row.id):
                yield await self._judge(row, facts)

    async def _rows(self, facts: Facts, *, everything: bool) -> AsyncIterator[rows.EndedRow]:
        before = facts.marks.now - self._limits.retention
        past = partial(rows.ended, before=before, everything=everything)
        for pages in (rows.erased, past):
            after = BEGINNING
            while True:
                page = await pages(self._db, after=after, done=facts.done, count=PAGE)
                for row in page:
                    yield row
                if len(page) < PAGE:
                    break
                after = (page[-1].ended_at, page[-1].id)

    async def _judge(self, row: rows.EndedRow, facts: Facts) -> Judged:
        try:
            history = await self._log.load(row.id)
        except UnknownEvent as error:
            return Judged(row.id, (), Decision(Action.NOTHING, str(error)))
        decision = judge_ended(row.kept, history, facts.marks, self._limits, erased_user=row.erased_user)
        return Judged(row.id, history, decision, erased=row.erased_user is not None)

    def _waits(self, execution_id: str) -> bool:
        return execution_id in self._not_before

    async def round(self, facts: Facts, *, at_most: int, per_second: int) -> int:
        """Prunes what may be pruned, no more and no faster than that; returns how many.

        Raises: Unavailable.
        """
        clock = asyncio.get_running_loop().time
        begun, done = clock(), 0
        self._not_before = {key: until for key, until in self._not_before.items() if until > begun}
        async for judged in self.judge(facts):
            if done >= at_most or not self._may_act():
                break
            self._not_before[judged.id] = clock() + LOOK_AGAIN_SECONDS
            if judged.decision.action is not Action.PRUNE:
                _log.info("not pruned", execution_id=judged.id, reason=judged.decision.reason)
                continue
            done += await self._prune(judged)
            # Keeps the pace, and gives everybody else a turn.
            await asyncio.sleep(max(0.0, begun + done / per_second - clock()))
        return done

    async def _prune(self, judged: Judged) -> bool:
        """False when it was kept, or when somebody else acted on it, in the last moment."""
        state = fold(judged.history)
        assert state is not None
        with telemetry.span("prune", attributes={names.EXECUTION_ID: judged.id}):
            if not judged.erased and await rows.kept(self._db, judged.id):
                return False
            try:
                await self._log.append(
                    judged.id, tombstone(state), state.last_seq, headers=telemetry.inject({})
                )
            except Conflict:
                return False
            reach(Point.JANITOR_TOMBSTONE)
            await self.delete(judged.history)
        names.PRUNED.inc()
        _log.info("pruned", execution_id=judged.id, reason=judged.decision.reason)
        return True

    async def delete(self, history: Sequence[Recorded]) -> None:
        """Deletes these events and their artifacts. Raises: Unavailable."""
        try:
            for ref in artifacts_of(history):
                await self._artifacts.delete(ref)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("the bucket of artifacts does not answer") from error
        for recorded in history:
            await stream.delete(self._nc, recorded.seq)
            reach(Point.JANITOR_DELETED_ONE)

    async def finish(self, *, at_most: int) -> int:
        """Finishes prunes that a crash interrupted; returns how many. Looks at each tombstone once.

        Raises: Unavailable.
        """
        finished = looked = 0
        while looked < at_most and self._may_act():
            request = {"seq": self._swept + 1, "next_by_subj": TOMBSTONES, "batch": TOMBSTONES_AT_ONCE}
            page = [from_copy(msg) async for msg in direct_get(self._nc, subjects.EXECUTIONS, request)]
            for found in page:
                if await stream.exists(self._nc, found.after):
                    finished += await self._finish(found)
                self._swept = found.seq
            looked += len(page)
            if not page:
                break
        return finished

    async def _finish(self, found: Recorded) -> bool:
        try:
            history = await self._log.load(found.execution_id)
        except UnknownEvent as error:
            _log.warning("leftovers not deleted", execution_id=found.execution_id, reason=str(error))
            return False
        left = [recorded for recorded in history if recorded.seq < found.seq]
        if not history or not isinstance(history[-1].event, ExecutionPruned):
            return False
        await self.delete(left)
        _log.info("pruned", execution_id=found.execution_id, reason=f"finished: {len(left)} events were left")
        return True
