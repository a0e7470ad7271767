"""One execution being run here: plans, begins nodes, and brings about exactly one ending."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from nats.errors import Error as NatsError

from services.executor import planner
from services.executor.call import Call
from services.executor.journal import Fenced, Journal, StopSeen
from services.executor.limits import exceeded, out_of_time
from services.executor.nodes.begin import begin
from services.executor.nodes.context import NodeFailed
from services.executor.parts import Parts
from services.executor.patience import patiently
from services.executor.planning import Planning
from services.executor.retry import Retries
from services.executor.steps import Open, Step
from shared import deltas, ending, subjects
from shared import events as ev
from shared.artifacts import INLINE_BYTES, room_of_one
from shared.errors import Permanent
from shared.execution import ExecutionState, NodeStatus, Status
from shared.tasks import cancel_and_wait, spawn
from shared.workflow import GROUP_KINDS

_log = logging.getLogger(__name__)

LIMIT = "system:limit"
"""Who stops what has reached a limit."""
CLOSE_SECONDS = 2.0
"""How long an aborted call may take to end before the end is written without waiting for it."""


class Interrupt(StrEnum):
    """Why a run ends before its workflow does. Later members outrank earlier ones."""

    RELEASE = "release"
    LIMIT = "limit"
    FAILED = "failed"
    STOP = "stop"
    FENCED = "fenced"


_RANK = list(Interrupt)
Texts = Mapping[str, ev.TextRef]
"""Of open calls, by node."""


class Outcome(StrEnum):
    """What becomes of the message that brought the execution here."""

    ENDED = "ended"
    RELEASED = "released"
    FENCED = "fenced"


class ExecutionRun:
    """Runs a claimed execution. Implements `nodes.context.Run`."""

    def __init__(self, parts: Parts, journal: Journal) -> None:
        self.journal = journal
        self.provider = parts.provider
        self.artifacts = parts.artifacts
        self.times = parts.times
        self.gate = parts.gate
        self.retries = Retries(parts.retry_budget)
        self.fallback_model: str | None = None
        self.troubles: dict[str, str] = {}
        self._deadline = math.inf
        self._clock = parts.clock
        self._nc = parts.nc
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.apart = parts.apart
        self._planning = Planning(parts.apart)
        self._values: dict[str, Any] = {}
        self._written = 0
        self._wake = asyncio.Event()
        self._failures: list[Fenced | StopSeen | NodeFailed] = []
        self._interrupt: Interrupt | None = None
        self._limit: str | None = None
        self._heard_at: float | None = None
        self._loading: asyncio.Timeout | None = None
        self.ended_as: Status | None = None
        self.published = False

    # --- from outside ---------------------------------------------------------------------------------------------

    def interrupt(self, why: Interrupt) -> None:
        """Ends every open call at once and the run soon after. Not a coroutine: nothing may delay it."""
        if self._interrupt is not None and _RANK.index(why) <= _RANK.index(self._interrupt):
            return
        self._interrupt = why
        if why in (Interrupt.STOP, Interrupt.LIMIT):
            self._heard_at = time.monotonic()
        for call in self._calls.values():
            call.abort()
        self._planning.interrupt()
        if self._loading is not None:
            self._loading.reschedule(asyncio.get_running_loop().time())
            self._loading = None
        self._wake.set()

    def heard(self, recorded: ev.Recorded) -> None:
        """An event of this execution that somebody else appended."""
        self.journal.offer(recorded)
        match recorded.event:
            case ev.StopRequested():
                self.interrupt(Interrupt.STOP)
            case ev.ExecutionStarted(instance=instance) if instance != self.journal.instance:
                if recorded.event.attempt > self.journal.attempt:
                    self.interrupt(Interrupt.FENCED)
            case ev.ExecutionCompleted() | ev.ExecutionStopped() | ev.ExecutionFailed() if (
                self.ended_as is None
            ):
                self.interrupt(Interrupt.FENCED)
            case _:
                return

    @property
    def current_node(self) -> str | None:
        return next(iter(self._tasks), None)

    # --- what nodes see -------------------------------------------------------------------------------------------

    def interrupted(self) -> bool:
        return self._interrupt is not None

    def seconds_left(self) -> float:
        return self._deadline - time.monotonic()

    def opened(self, call: Call) -> None:
        self._calls[call.node] = call

    def finished(self, node: str, text: str, structured: bool) -> None:
        self._calls.pop(node, None)
        self.troubles.pop(node, None)
        self._values[node] = planner.value_of(text, structured)
        self._written += len(text.encode())

    def progressed(self, adding: int = 0) -> None:
        if self._interrupt is not None:
            return
        open_usage = [usage for call in self._open(self.journal.state) for usage in call.usage]
        open_text = sum(call.size for call in self._calls.values())
        self._limit = exceeded(self.journal.state, open_usage, self._written + open_text + adding)
        if self._limit is not None:
            self.interrupt(Interrupt.LIMIT)

    async def publish(self, delta: deltas.Delta) -> None:
        self.published = True
        try:
            await self._nc.publish(subjects.deltas(self.journal.state.id), deltas.encode(delta))
        except NatsError:
            return  # a preview only: the log gets the whole text

    # --- the run --------------------------------------------------------------------------------------------------

    async def drive(self) -> Outcome:
        """Runs to an end, a hand-back, or until somebody else's event ends it.

        Raises: Permanent, when an artifact that the execution needs is gone.
        """
        timer = self._start_timer()
        try:
            program = await self._loaded()
            return await (self._loop(program) if program else self._end_interrupted())
        except Fenced:
            self.interrupt(Interrupt.FENCED)
            return Outcome.FENCED
        finally:
            timer.cancel()
            await self._quiet()

    def _start_timer(self) -> asyncio.TimerHandle:
        state = self.journal.state
        left = max(0.0, state.limits.seconds - state.ran.total_seconds())
        self._deadline = time.monotonic() + left
        return asyncio.get_running_loop().call_later(left, self._out_of_time)

    def _out_of_time(self) -> None:
        self._limit = self._limit or out_of_time(self.journal.state.limits.seconds, self.troubles)
        self.interrupt(Interrupt.LIMIT)

    async def _loaded(self) -> planner.Program | None:
        """None when the run was interrupted first: what it needs may be large, or far away."""
        if self._interrupt is not None:
            return None
        try:
            async with asyncio.timeout(None) as self._loading:
                return await self._load()
        except TimeoutError:
            return None
        finally:
            self._loading = None

    async def _load(self) -> planner.Program:
        state = self.journal.state
        body = await patiently(lambda: self.artifacts.get_body(state.body))
        self.fallback_model = body.workflow.fallback_model
        for node in state.nodes.values():
            output = node.output
            if node.status is NodeStatus.COMPLETED and output is not None and node.kind not in GROUP_KINDS:
                text = await patiently(lambda: self.artifacts.get_text(output))  # noqa: B023 - awaited at once
                self.finished(node.id, text, node.structured)
        return planner.Program(workflow=body.workflow, inputs=body.input)

    async def _loop(self, program: planner.Program) -> Outcome:
        while True:
            if self._interrupt is not None:
                return await self._end_interrupted()
            try:
                plan = await self._planning.next(
                    program, self.journal.state, self._values, frozenset(self._tasks)
                )
                if plan is None:
                    continue
                if plan.output is not None:
                    return await self._end_completed(plan.output)
                if plan.error is not None:
                    return await self.fail(plan.error)
                self._begin(plan.steps)
                await self._wake.wait()
                self._wake.clear()
                self._collect()
            except StopSeen:
                self.interrupt(Interrupt.STOP)
            except NodeFailed as failure:
                error = ev.ErrorInfo(code=failure.code, message=failure.message, node=failure.node)
                if self._interrupt is None:
                    return await self.fail(error)

    def _begin(self, steps: Sequence[Step]) -> None:
        opening = sum(step.items or 0 for step in steps if isinstance(step, Open))
        ids = {*self.journal.state.nodes, *self._tasks, *(step.node for step in steps)}
        if len(ids) + opening > self.journal.state.limits.nodes:
            self._limit = f"limit of {self.journal.state.limits.nodes} nodes reached"
            self.interrupt(Interrupt.LIMIT)
            return
        for step in steps:
            task = spawn(self._node(step), name=f"node {step.node}")
            self._tasks[step.node] = task
            task.add_done_callback(lambda _: self._wake.set())

    async def _node(self, step: Step) -> None:
        try:
            await begin(self, step)
        except (Fenced, StopSeen, NodeFailed) as error:
            self._failures.append(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours ends this execution, not its neighbours
            _log.exception("node failed unexpectedly", extra={"node": step.node})
            message = f"The executor failed at this node ({type(error).__name__}). Its logs say more."
            self._failures.append(NodeFailed(step.node, "internal_error", message))

    def _collect(self) -> None:
        """Raises: what a finished node ended with, the most serious first."""
        for node, task in list(self._tasks.items()):
            if task.done():
                del self._tasks[node]
        failures, self._failures = self._failures, []
        for kind in (Fenced, StopSeen, NodeFailed):
            for error in failures:
                if isinstance(error, kind):
                    raise error

    # --- endings --------------------------------------------------------------------------------------------------

    async def _end_completed(self, output: str) -> Outcome:
        await self.journal.append(lambda state: ending.completed(state, output))
        return self._ended()

    async def fail(self, error: ev.ErrorInfo) -> Outcome:
        """Ends it as failed, unless a stop was asked for. Raises: Fenced."""
        self.interrupt(Interrupt.FAILED)  # no node may begin another call
        await self._quiet()
        try:
            await self._append_end(
                lambda state, texts: ending.failed(state, error, self._open_calls(state, texts))
            )
        except StopSeen:
            self.interrupt(Interrupt.STOP)
            return await self._end_interrupted()
        return self._ended()

    async def _end_interrupted(self) -> Outcome:
        closed = await self._quiet()
        match self._interrupt:
            case Interrupt.FENCED | Interrupt.FAILED | None:
                return Outcome.FENCED
            case Interrupt.RELEASE:
                return await self._release()
            case Interrupt.STOP | Interrupt.LIMIT:
                return await self._end_stopped(closed)

    async def _end_stopped(self, closed: float) -> Outcome:
        heard = self._heard_at or closed
        reached = self._clock.told(heard) or datetime.now(UTC)  # a limit, if nobody asked

        def build(state: ExecutionState, texts: Texts) -> ev.AnyEvent:
            asked = state.stop.at if state.stop else reached
            times = self._clock.stop_times(asked, heard, closed)
            return ending.stopped(
                state,
                by=LIMIT,
                reason=self._limit,
                at=asked,
                heard_at=times[0],
                closed_at=times[1],
                open_calls=self._open_calls(state, texts),
            )

        if self._interrupt is Interrupt.STOP and self.journal.state.status is not Status.STOPPING:
            await self.journal.reload()
        await self._append_end(build, while_stopping=True)
        return self._ended()

    async def _append_end(
        self, build: Callable[[ExecutionState, Texts], ev.AnyEvent], *, while_stopping: bool = False
    ) -> None:
        """With the texts of the open calls; without, when the end would be too large with them."""
        texts = await self._keep_texts()
        try:
            await self.journal.append(lambda state: build(state, texts), while_stopping=while_stopping)
        except Permanent as error:
            _log.error("partial texts are left out of the end: %s", error)
            await self.journal.append(lambda state: build(state, {}), while_stopping=while_stopping)

    async def _release(self) -> Outcome:
        try:
            await self.journal.append(
                lambda state: ev.ExecutionReleased(
                    attempt=state.attempt,
                    instance=state.owner or "",
                    reason=ev.ReleaseReason.SHUTDOWN,
                    usage=tuple(usage for call in self._open(state) for usage in call.usage),
                )
            )
        except StopSeen:
            self.interrupt(Interrupt.STOP)
            return await self._end_interrupted()
        return Outcome.RELEASED

    def _ended(self) -> Outcome:
        self.ended_as = self.journal.state.status
        return Outcome.ENDED

    async def _quiet(self) -> float:
        """Ends every call and node task; returns `time.monotonic()` of when the last socket was closed."""
        calls = list(self._calls.values())  # nodes go on taking them away until their tasks have ended
        for call in calls:
            call.abort()
        await asyncio.gather(*(call.closed(CLOSE_SECONDS) for call in calls))
        times = [call.closed_at for call in calls if call.closed_at and call.aborted]
        await asyncio.gather(*(cancel_and_wait(task) for task in list(self._tasks.values())))
        self._tasks.clear()
        return max(times, default=self._heard_at or time.monotonic())

    def _open(self, state: ExecutionState) -> list[Call]:
        """Calls whose text and usage no event of the history has: a node task may end between append and answer."""
        found = []
        for call in self._calls.values():
            node = state.nodes.get(call.node)
            if (
                node is not None
                and node.status is not NodeStatus.COMPLETED
                and node.attempts == call.node_attempt
            ):
                found.append(call)
        return found

    async def _keep_texts(self) -> dict[str, ev.TextRef]:
        """The texts of the open calls, stored: together they must fit into one event."""
        calls = [call for call in self._open(self.journal.state) if call.text]
        room = room_of_one(len(calls), 2 * INLINE_BYTES)  # what does not fit after all is left out of the end
        key = self.journal.state.id
        texts = await asyncio.gather(*(self.artifacts.put_partial(key, call.text, room) for call in calls))
        return {call.node: text for call, text in zip(calls, texts, strict=True)}

    def _open_calls(self, state: ExecutionState, texts: Mapping[str, ev.TextRef]) -> list[ending.OpenCall]:
        return [
            ending.OpenCall(
                node=call.node, node_attempt=call.node_attempt, text=texts.get(call.node), usage=call.usage
            )
            for call in self._open(state)
        ]
