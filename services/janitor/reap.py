"""Acts on open executions that nobody else can act on any more. The log decides who was first."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import nats.errors

from services.janitor import facts as known
from services.janitor import rows
from services.janitor.evidence import Sightings, Suspicion, look
from services.janitor.facts import Facts
from services.janitor.parts import Parts
from services.janitor.policy import LOST, Action, Decision, judge_open, nothing, overdue_at
from shared import conventions as names
from shared import ending, telemetry
from shared.errors import Conflict, Permanent, Unavailable, UnknownEvent
from shared.events import (
    AnyEvent,
    ErrorInfo,
    ExecutionFailed,
    ExecutionRequeued,
    ExecutionStopped,
    Recorded,
    StopRequested,
)
from shared.execution import ExecutionState, Status, fold
from shared.fault_points import Point, reach
from shared.logs import get_logger
from shared.lost import open_calls

BY = "system:janitor"
PAGE = 1_000
"""Open executions asked for at once."""
_FIRST_ID = "00000000-0000-0000-0000-000000000000"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Doubt:
    """An open execution, by its row, with its history in the log."""

    id: str
    history: Sequence[Recorded]
    decision: Decision

    def suspicion(self) -> Suspicion:
        return Suspicion(self.decision.action, self.history[-1].seq)


class Reaper:
    """`may_act` is asked before every act; `unbroken_since` is that of this process's heartbeat."""

    def __init__(
        self,
        parts: Parts,
        *,
        may_act: Callable[[], bool],
        unbroken_since: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nc = parts.nc
        self._db = parts.db
        self._log = parts.log
        self._artifacts = parts.artifacts
        self._limits = parts.limits
        self._may_act = may_act
        self._unbroken_since = unbroken_since
        self._clock = clock
        self._sightings: Sightings = {}
        self._in_time_until: dict[str, datetime] = {}

    async def judge(self, facts: Facts) -> AsyncIterator[Doubt]:
        """Every open execution that may need somebody. Raises: Unavailable."""
        now = facts.marks.now
        self._in_time_until = {key: until for key, until in self._in_time_until.items() if until > now}
        carried = facts.carried
        async for execution_id in self._in_doubt(facts, carried):
            if execution_id not in carried or execution_id not in self._in_time_until:
                yield await self._judge(execution_id, facts)

    async def _in_doubt(self, facts: Facts, carried: frozenset[str]) -> AsyncIterator[str]:
        long_ago = facts.marks.now - self._limits.overdue_grace - timedelta(seconds=1)
        after = _FIRST_ID
        while True:
            page = await rows.in_doubt(
                self._db,
                lanes=facts.marks.lanes,
                carried=carried,
                long_ago=long_ago,
                after=after,
                count=PAGE,
            )
            for execution_id in page:
                yield execution_id
            if len(page) < PAGE:
                return
            after = page[-1]

    async def _judge(self, execution_id: str, facts: Facts) -> Doubt:
        try:
            history = await self._log.load(execution_id)
        except UnknownEvent as error:
            return Doubt(execution_id, (), nothing(str(error)))
        state = fold(history)
        if state is not None and state.status is Status.RUNNING:
            self._in_time_until[execution_id] = overdue_at(state, facts.marks.now, self._limits)
        return Doubt(execution_id, history, judge_open(history, facts.fleet, facts.marks, self._limits))

    async def round(self, facts: Facts) -> int:
        """Acts where the evidence suffices; returns on how many. Raises: Unavailable."""
        # Histories are not kept meanwhile: there may be many, and long ones.
        suspects = {
            doubt.id: doubt.suspicion()
            async for doubt in self.judge(facts)
            if doubt.decision.action is not Action.NOTHING
        }
        self._sightings, proven = look(self._sightings, suspects, self._clock(), self._unbroken_since())
        acted = 0
        for execution_id in sorted(proven):
            if not self._may_act() or self._unbroken_since() is None:
                break
            doubt = await self._judge(execution_id, facts)
            if doubt.decision.action is not Action.NOTHING and doubt.suspicion() == suspects[execution_id]:
                acted += await self._act(doubt, facts)
        return acted

    async def _act(self, doubt: Doubt, facts: Facts) -> bool:
        """False when somebody else acted, or its owner was heard, in the last moment."""
        state = fold(doubt.history)
        assert state is not None
        fleet = {**facts.fleet, **await known.owner(self._nc, state.owner)}
        if judge_open(doubt.history, fleet, facts.marks, self._limits) != doubt.decision:
            return False
        action, reason = doubt.decision.action.value, doubt.decision.reason
        with telemetry.span(
            f"reap {action}", attributes={names.EXECUTION_ID: doubt.id}, parent=telemetry.extract(state.trace)
        ):
            event = await self._event(doubt, state)
            try:
                await self._log.append(doubt.id, event, state.last_seq, headers=telemetry.inject({}))
            except Conflict:
                return False
            except Permanent as error:
                _log.error("can not be reaped", execution_id=doubt.id, action=action, reason=str(error))
                return False
        reach(Point.JANITOR_APPENDED)
        names.REAPED.labels(action).inc()
        if isinstance(event, ExecutionStopped | ExecutionFailed):
            names.EXECUTIONS_ENDED.labels(event.type, state.kind.value).inc()
        _log.warning("reaped", execution_id=doubt.id, action=action, reason=reason)
        return True

    async def _event(self, doubt: Doubt, state: ExecutionState) -> AnyEvent:
        match doubt.decision.action:
            case Action.REQUEUE:
                return ExecutionRequeued(user_id=state.user_id, lane=state.lane, reason=LOST)
            case Action.ASK_STOP:
                return StopRequested(by=BY, reason="overdue")
            case Action.STOP:
                calls = await self._open_calls(state)
                return ending.stopped(state, by=BY, reason=None, at=state.last_at, open_calls=calls)
            case Action.FAIL:
                error = ErrorInfo(
                    code="abandoned", message=f"No executor could run it: {doubt.decision.reason}."
                )
                return ending.failed(state, error, await self._open_calls(state))
            case Action.NOTHING | Action.PRUNE as action:
                raise AssertionError(f"{action} is no act on an open execution")

    async def _open_calls(self, state: ExecutionState) -> Sequence[ending.OpenCall]:
        try:
            return await open_calls(self._nc, self._artifacts, state)
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("the bucket of artifacts does not answer") from error
