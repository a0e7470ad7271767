"""Everything that this executor runs: from a delivered message to its acknowledgement."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from services.executor.claim import Decision, decide, losses
from services.executor.evidence import Witness
from services.executor.journal import Fenced, Journal
from services.executor.parts import Parts
from services.executor.run import LIMIT, ExecutionRun, Interrupt, Outcome
from services.executor.unreadable import Unreadable
from shared import conventions as metrics
from shared import ending, logs, subjects, telemetry
from shared import events as ev
from shared.errors import Conflict, Permanent, Retryable, Unavailable, UnknownEvent
from shared.execution import ExecutionState, fold
from shared.fault_points import Point, reach
from shared.jetstream import api
from shared.log import ExecutionLog
from shared.lost import lost_usage, open_calls
from shared.messages import from_delivery
from shared.tasks import spawn

LATER_SECONDS = 1.0
"""After which a message is looked at again whose execution may have another owner."""
UNREADABLE_SECONDS = 60.0
"""After which one is looked at again that this release can not read: a rollout may be under way."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Running:
    """An execution from its claim to its end here."""

    run: ExecutionRun
    messages: dict[int, Msg]
    """What has brought it here, by sequence: a promoted one has come twice. Each must be kept and settled."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))


class Worker:
    """Takes messages one by one, decides by the log, runs what it claims."""

    def __init__(
        self, log: ExecutionLog, parts: Parts, witness: Witness, *, instance: str, max_losses: int
    ) -> None:
        self._log = log
        self._parts = parts
        self._witness = witness
        self._instance = instance
        self._max_losses = max_losses
        self._unreadable = Unreadable(log, witness)
        self._taken: dict[int, Msg] = {}
        """Messages between delivery and claim: they too must be kept from being redelivered."""
        self.running: dict[str, Running] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._leaving = asyncio.Event()

    def start(self, msg: Msg, lane: str, done: Callable[[str], None]) -> None:
        """Deals with one delivery in a task of its own; `done` is called with the lane at its end."""
        task = spawn(self._handle(msg, lane), name="execution")
        self._handling.add(task)
        task.add_done_callback(self._handling.discard)
        task.add_done_callback(lambda _: done(lane))

    async def _handle(self, msg: Msg, lane: str) -> None:
        """From the decision to the acknowledgement."""
        execution_id = subjects.execution_of(msg.subject)
        if self._leaving.is_set():
            await _settle(msg.nak())
            return
        seq = msg.metadata.sequence.stream
        self._taken[seq] = msg
        reach(Point.EXECUTOR_DELIVERED)
        with logs.bind_execution(execution_id), telemetry.process_span(msg.subject, msg.headers):
            try:
                await self._decide_patiently(execution_id, msg, lane)
            finally:
                if self._taken.get(seq) is msg:
                    del self._taken[seq]

    async def _decide_patiently(self, execution_id: str, msg: Msg, lane: str) -> None:
        """While nothing can be decided the message is kept: given back, it would count as handed out in vain."""
        while not self._leaving.is_set():
            try:
                await self._decide(execution_id, msg, lane)
            except (Retryable, NatsError) as error:
                _log.warning("execution waits for the log: %s", error)
                await asyncio.sleep(LATER_SECONDS)
            except UnknownEvent as error:
                _log.error("execution can not be read: %s", error)
                over = await self._unreadable.over(execution_id, msg)
                await _settle(msg.ack() if over else msg.nak(delay=UNREADABLE_SECONDS))
                return
            except Exception:  # noqa: BLE001 - a fault of ours, which is not to take the process along
                _log.exception("execution could not be dealt with")
                await _settle(msg.nak(delay=UNREADABLE_SECONDS))
                return
            else:
                return
        await _settle(msg.nak())

    async def _decide(self, execution_id: str, msg: Msg, lane: str) -> None:
        state = await self._state(execution_id, msg)
        while state is not None:
            running_here = execution_id in self.running
            evidence = None
            if state.owner is not None and not state.ended and not running_here:
                evidence = await self._witness.of(state)
            decision = decide(
                state,
                self._instance,
                running_here,
                evidence,
                ttl=self._witness.ttl,
                max_losses=self._max_losses,
                deliveries=msg.metadata.num_delivered,
            )
            try:
                await self._act(decision, state, msg, lane)
            except Conflict:
                state = fold(await self._log.load(execution_id))
            else:
                return
        await _settle(msg.ack())  # its history is gone: pruned

    async def _state(self, execution_id: str, msg: Msg) -> ExecutionState | None:
        """For a first delivery the message itself is the newest history we know: the claim's guard tells if not.

        What has waited in `later` may have been stopped meanwhile, with thousands of others: that is looked at first.
        """
        if msg.metadata.num_delivered == 1:
            recorded = from_delivery(msg)
            self._parts.clock.saw(recorded.time, time.monotonic())
            if isinstance(recorded.event, ev.ExecutionRequested):
                if recorded.event.lane == subjects.NOW:
                    return fold([recorded])
                newest = await self._log.last(execution_id)
                state = fold([recorded] if newest is None else [recorded, newest])
                if state is not None and (state.last_seq == recorded.seq or state.ended):
                    return state
        return fold(await self._log.load(execution_id))

    async def _act(self, decision: Decision, state: ExecutionState, msg: Msg, lane: str) -> None:
        """Raises: Conflict, when the history has moved on since the decision."""
        match decision:
            case Decision.DONE:
                await _settle(msg.ack())
            case Decision.OURS:
                self.running[state.id].messages[msg.metadata.sequence.stream] = msg
            case Decision.LATER:
                await _settle(msg.nak(delay=LATER_SECONDS))
            case Decision.END_STOPPED:
                await self._end_without_running(state, None)
                await _settle(msg.ack())
            case Decision.FAIL:
                await self._end_without_running(state, _given_up(state, msg))
                await _settle(msg.ack())
            case Decision.CLAIM | Decision.TAKE_OVER:
                if decision is Decision.TAKE_OVER:
                    reach(Point.EXECUTOR_TAKEOVER)
                await self._run(state, msg, lane)

    async def _end_without_running(self, state: ExecutionState, error: ev.ErrorInfo | None) -> None:
        calls = await open_calls(self._parts.nc, self._parts.artifacts, state)
        event: ev.AnyEvent
        if error is None:
            event = ending.stopped(state, by="system", reason=None, at=datetime.now(UTC), open_calls=calls)
        else:
            event = ending.failed(state, error, calls)
        await self._log.append(state.id, event, state.last_seq)
        metrics.EXECUTIONS_ENDED.labels(event.type, state.kind.value).inc()

    async def _run(self, state: ExecutionState, msg: Msg, lane: str) -> None:
        if self._leaving.is_set():
            await _settle(msg.nak())
            return
        attempt = state.attempt + 1
        lost = await lost_usage(self._parts.nc, state)
        here = self.running.get(state.id)
        if here is not None:  # another message of it was quicker, while this one was looked into
            here.messages[msg.metadata.sequence.stream] = msg
            return
        journal = Journal(self._log, state, attempt, self._instance)
        journal.headers = telemetry.inject({})
        running = Running(
            run=ExecutionRun(self._parts, journal), messages={msg.metadata.sequence.stream: msg}
        )
        self.running[state.id] = running  # before the claim: a stop right after it must find it
        try:
            await journal.claim(ev.ExecutionStarted(attempt=attempt, instance=self._instance, lost=lost))
            reach(Point.EXECUTOR_CLAIMED)
            waited = (journal.state.last_at - state.requested_at).total_seconds()
            metrics.QUEUE_WAIT.labels(lane).observe(max(0.0, waited))
            if self._leaving.is_set():
                running.run.interrupt(Interrupt.RELEASE)
            outcome = await self._drive(running)
        finally:
            if self.running.get(state.id) is running:
                del self.running[state.id]
        await self._conclude(running, outcome)

    async def _drive(self, running: Running) -> Outcome:
        """Runs it; what it can not run at all ends it as failed."""
        try:
            try:
                return await running.run.drive()
            except Permanent as error:
                return await running.run.fail(ev.ErrorInfo(code="unreadable", message=str(error)))
            except Fenced:
                raise
            except Exception as error:  # noqa: BLE001 - a fault of ours ends this execution, not its neighbours
                _log.exception("execution failed unexpectedly")
                message = f"The executor failed ({type(error).__name__}). Its logs say more."
                return await running.run.fail(ev.ErrorInfo(code="internal_error", message=message))
        except Fenced:
            return Outcome.FENCED

    async def _conclude(self, running: Running, outcome: Outcome) -> None:
        match outcome:
            case Outcome.ENDED:
                reach(Point.EXECUTOR_ENDED)
                for msg in running.messages.values():
                    await _settle(msg.ack())
                _measure(running.run.journal.state)
                await self._forget_pieces(running.run)
            case Outcome.RELEASED:
                reach(Point.EXECUTOR_RELEASED)
                for msg in running.messages.values():
                    await _settle(msg.nak())
            case Outcome.FENCED:
                # the message is the next owner's: no word on it. An end of its own is acknowledged when redelivered
                _log.warning("execution was taken from this executor")

    async def _forget_pieces(self, run: ExecutionRun) -> None:
        """The log has the texts now. What is left behind, if NATS is away, expires."""
        if not run.published:
            return
        with contextlib.suppress(Unavailable):
            request = {"filter": subjects.deltas(run.journal.state.id)}
            await api(self._parts.nc, f"STREAM.PURGE.{subjects.DELTAS}", request)

    # --- signals --------------------------------------------------------------------------------------------------

    def heard(self, recorded: ev.Recorded) -> None:
        """An event of somebody about an execution that may be running here."""
        self._parts.clock.saw(recorded.time, time.monotonic())
        running = self.running.get(recorded.execution_id)
        if running is not None:
            running.run.heard(recorded)

    async def look_for_missed(self) -> None:
        """Asks the log for stops and ends that no signal told of. Raises: Unavailable."""
        ids = list(self.running)
        for start in range(0, len(ids), 100):
            wanted = [
                subjects.event_subject(execution_id, kind)
                for execution_id in ids[start : start + 100]
                for kind in ("started", "stop_requested", *ev.TERMINAL_TYPES)
            ]
            for recorded in await self._log.latest(wanted):
                self.heard(recorded)

    async def extend(self) -> None:
        """Tells the server that every taken message makes progress."""
        kept = dict(self._taken)
        for running in self.running.values():
            kept |= running.messages
        for msg in kept.values():
            await _settle(msg.in_progress())

    def leave(self) -> None:
        """What is delivered from now on is given back at once."""
        self._leaving.set()

    async def release_all(self, seconds: float) -> None:
        """Hands everything back, so that others go on at once; waits at most so long."""
        for running in list(self.running.values()):
            running.run.interrupt(Interrupt.RELEASE)
        if self._handling:
            await asyncio.wait(set(self._handling), timeout=seconds)

    def listing(self) -> list[dict[str, Any]]:
        """For the heartbeat: id, node and since when."""
        return [
            {"id": key, "node": value.run.current_node, "since": value.since.isoformat()}
            for key, value in self.running.items()
        ]


def _given_up(state: ExecutionState, msg: Msg) -> ev.ErrorInfo:
    if state.attempt == 0:
        times = msg.metadata.num_delivered
        text = f"It was handed to executors {times} times and none could begin it. Start it anew, or ask an operator."
        return ev.ErrorInfo(code="poison", message=text)
    text = f"{losses(state)} executors were lost while they ran it. Start it again, or ask an operator."
    return ev.ErrorInfo(code="attempts_exhausted", message=text)


async def _settle(answer: Any) -> None:
    """Sends an ack, nak or in_progress; without a connection the server will redeliver, which is harmless."""
    try:
        await answer
    except NatsError as error:
        _log.debug("no word to the queue: %s", type(error).__name__)


def _measure(state: ExecutionState) -> None:
    metrics.EXECUTIONS_ENDED.labels(state.status.value, state.kind.value).inc()
    stop = state.stop
    if stop is not None and stop.by != LIMIT and stop.heard_at is not None and stop.closed_at is not None:
        metrics.STOP_SECONDS.labels("heard").observe(max(0.0, (stop.heard_at - stop.at).total_seconds()))
        metrics.STOP_SECONDS.labels("closed").observe(max(0.0, (stop.closed_at - stop.at).total_seconds()))
