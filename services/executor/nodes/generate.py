"""A model call as a node: started in the log, streamed to the viewers, judged at its end, completed in the log.

Every wait (for the limits, for a model that is down, before a retry) comes before the append that announces the call,
and every call has its own: one `node_started`, one call, one usage.
"""

import asyncio
import random
import time
from collections.abc import Callable

from services.executor.call import Call
from services.executor.models.answer import Accepted, judge
from services.executor.models.gate import Ticket
from services.executor.models.names import brand_of
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.nodes.context import NodeFailed, Run
from services.executor.nodes.keep import keep_text
from services.executor.retry import Room
from services.executor.schema_checks import schema_fault
from services.executor.steps import CallModel
from services.executor.tries import Tries
from shared import conventions as metrics
from shared.deltas import Delta, Waiting
from shared.events import NodeCompleted, NodeStarted
from shared.execution import ExecutionState
from shared.fault_points import Point, reach
from shared.usage import Certainty, ModelUsage, Tier

CLOSE_SECONDS = 2.0
LATE_TURNS = 3
"""So many turns in a row may be over before their calls can begin; where the log is that slow the next call goes."""
DELTA_CHARACTERS = 50_000
"""More text than this is published in several pieces."""


async def run_generate(run: Run, step: CallModel) -> None:
    """Raises: NodeFailed, when no call is of any use any more; Fenced and StopSeen, from the journal."""
    node = _Node(run, step)
    while not run.interrupted():
        ticket = await node.admitted()
        try:
            if not await node.announced(ticket):
                continue
            outcome = await node.call(ticket)
        finally:
            node.settle(ticket)
        if not await node.goes_on(outcome):
            return


class _Node:
    """The calls of one node, one after the other."""

    def __init__(self, run: Run, step: CallModel) -> None:
        task = step.prompt.task
        self._run = run
        self._step = step
        self._attempt = step.node_attempt
        self._call: Call | None = None
        self._late = 0
        """How often in a row a call was announced too late to begin."""
        self._tries = Tries(
            asked=_request(step),
            fallback=run.fallback_model,
            continue_truncated=task.continue_truncated,
        )

    async def admitted(self) -> Ticket:
        """Waits until the next call may begin; a model that is down is not waited for when there is another."""
        gate = self._run.gate
        while True:
            self._tries.choose(gate.down)
            if (ticket := await gate.enter(self._tries.request, self._tell)) is not None:
                return ticket

    def settle(self, ticket: Ticket) -> None:
        call = self._call
        self._run.gate.leave(
            ticket,
            error=call.error if call is not None else None,
            answered=call is not None and call.begun,
            whole=call is not None and call.answer.finish is not None,
            used=_used(call) if call is not None else 0,
        )

    async def announced(self, ticket: Ticket) -> bool:
        """Appends that a call begins. False when it may not: from outside, or because its turn was over by then.

        Many that waited for the log to come back would otherwise begin together.
        """
        run, before = self._run, self._call
        lost = before.usage if before is not None else ()
        self._call = None
        await run.journal.append_to_act(
            lambda state: _started(state, self._step, self._attempt, ticket.request.model, lost)
        )
        self._attempt += 1
        reach(Point.EXECUTOR_NODE_STARTED)
        late = ticket.late and self._late < LATE_TURNS
        self._late = self._late + 1 if late else 0
        return not (late or run.interrupted())

    async def call(self, ticket: Ticket) -> Accepted | ModelError | None:
        """Makes the call that was announced. None when it was ended from outside."""
        run, request = self._run, ticket.request
        tier = run.journal.state.tiers.get(request.model, Tier.PAYG)
        call = self._call = Call(
            run.provider, request, tier, self._step.node, self._attempt - 1, self._tries.said
        )
        run.opened(call)
        call.begin()
        try:
            await _follow(run, call, lambda: self._answers(ticket))
            whole = not call.aborted and call.error is None
            fault = await self._schema_fault(call.answer.text) if whole else None
            return self._judged(call, fault)
        except ModelError as error:
            return error

    def _answers(self, ticket: Ticket) -> None:
        self._run.gate.answers(ticket)
        self._run.troubles.pop(self._step.node, None)

    async def _schema_fault(self, text: str) -> str | None:
        """By the node's own schema, whatever this call asked."""
        schema = self._tries.asked.output_schema
        if schema is None or not text.strip():
            return None
        return await schema_fault(self._run.apart, text, schema)

    def _judged(self, call: Call, fault: str | None) -> Accepted | None:
        """Raises: ModelError."""
        model = metrics.model_label(call.request.model)
        if call.aborted:
            metrics.MODEL_CALLS.labels(model, "cancelled").inc()
            return None
        try:
            if call.error is not None:
                raise call.error
            may_go_on = self._tries.may_go_on(call.text)
            accepted = judge(call.request, call.answer, schema_fault=fault, may_go_on=may_go_on)
        except ModelError as error:
            if error.used:
                call.error = error  # its last report of usage is not its final one
            metrics.MODEL_CALLS.labels(model, error.code).inc()
            raise
        metrics.MODEL_CALLS.labels(model, "ok").inc()
        for usage in call.usage:
            used = metrics.model_label(usage.model)
            for kind in ("input", "cached", "output", "thoughts", "tool"):
                metrics.TOKENS.labels(used, kind).inc(getattr(usage.tokens, kind))
        return accepted

    async def goes_on(self, outcome: Accepted | ModelError | None) -> bool:
        """Completes the node, or waits until another call makes sense. Raises: NodeFailed, when none does."""
        call = self._call
        if outcome is None or call is None:
            return False
        if isinstance(outcome, ModelError):
            return await self._after(outcome, call)
        if self._tries.goes_on(outcome):
            return True
        await _complete(self._run, self._step, call, outcome)
        return False

    async def _after(self, error: ModelError, call: Call) -> bool:
        tries, run = self._tries, self._run
        try:
            delay = tries.failed(
                error,
                call.text,
                random.random(),  # noqa: S311 - jitter
                Room(budget=run.retries.left, seconds=run.seconds_left()),
                run.gate.down,
            )
        except ModelError:
            kept = tries.kept(await self._schema_fault(tries.said))
            if kept is None:
                raise NodeFailed(call.node, error.code, error.message) from error
            await _complete(run, self._step, call, kept)
            return False
        run.retries.spend(error)
        run.troubles[call.node] = f"{error.code}: {error.message}"
        if delay > 0:
            await self._tell(error.code, delay)
            await asyncio.sleep(delay)
        return True

    async def _tell(self, reason: str, seconds: float) -> None:
        """Shows a wait where the node's text is."""
        call = self._call
        self._run.troubles.setdefault(self._step.node, reason)
        delta = Delta(
            attempt=self._run.journal.state.attempt,
            node=self._step.node,
            node_attempt=call.node_attempt if call is not None else self._attempt,
            offset=len(call.text) if call is not None else 0,
            waiting=Waiting(reason=reason, seconds=round(seconds, 3)),
        )
        await self._run.publish(delta)


def _used(call: Call) -> int | None:
    """All tokens of the call; None when they are not known."""
    if any(usage.tokens.certainty is Certainty.UNKNOWN for usage in call.usage):
        return None
    return sum(usage.tokens.total for usage in call.usage)


def _request(step: CallModel) -> ModelRequest:
    task = step.prompt.task
    return ModelRequest(
        model=task.model,
        prompt=step.prompt.text,
        system=step.prompt.system,
        temperature=task.temperature,
        thinking=task.thinking,
        max_tokens=task.max_tokens,
        output_schema=task.output_schema,
    )


def _started(
    state: ExecutionState, step: CallModel, attempt: int, model: str, lost: tuple[ModelUsage, ...]
) -> NodeStarted:
    return NodeStarted(
        attempt=state.attempt, node=step.node, kind="generate", node_attempt=attempt, model=model, lost=lost
    )


async def _follow(run: Run, call: Call, answers: Callable[[], None]) -> None:
    """Publishes what arrives until the end, also when that comes from outside or by a provider that goes silent.

    `answers` is called when the first piece is there.
    """
    began = time.monotonic()
    sent = await _publish(run, call, 0)
    waits = True
    while not call.done:
        seconds = run.times.between if call.begun else run.times.first
        left = began + run.times.whole - time.monotonic()
        if not await call.more(min(seconds, left)):
            await _give_up(call)
        if call.begun and waits:
            waits = False
            answers()
            metrics.MODEL_FIRST_CHUNK.labels(metrics.model_label(call.request.model)).observe(
                time.monotonic() - began
            )
        sent = await _publish(run, call, sent)
        await call.closed(run.times.merge)
    await _publish(run, call, sent)
    seconds = time.monotonic() - began
    metrics.MODEL_SECONDS.labels(metrics.model_label(call.request.model)).observe(seconds)


async def _give_up(call: Call) -> None:
    call.abort()
    await call.closed(CLOSE_SECONDS)
    call.error = call.error or ModelError(
        "provider_unreachable",
        f"{brand_of(call.request.model).label} does not go on with its answer. Try again later.",
        retryable=True,
        used=True,
    )
    call.aborted = False


async def _publish(run: Run, call: Call, sent: int) -> int:
    text = call.text
    for start in range(sent, len(text), DELTA_CHARACTERS):
        usage = call.usage
        await run.publish(
            Delta(
                attempt=run.journal.state.attempt,
                node=call.node,
                node_attempt=call.node_attempt,
                offset=start,
                text=text[start : start + DELTA_CHARACTERS],
                usage=usage[0] if usage else None,
            )
        )
    run.progressed()
    return len(text)


async def _complete(run: Run, step: CallModel, call: Call, accepted: Accepted) -> None:
    output = await keep_text(run, accepted.text)
    reach(Point.EXECUTOR_ARTIFACT_STORED)
    structured = step.prompt.task.output_schema is not None
    await run.journal.append(
        lambda state: NodeCompleted(
            attempt=state.attempt,
            node=step.node,
            kind="generate",
            node_attempt=call.node_attempt,
            output=output,
            structured=structured,
            truncated=accepted.truncated,
            finish_reason=call.answer.finish_reason,
            usage=call.usage,
        )
    )
    reach(Point.EXECUTOR_NODE_COMPLETED)
    run.finished(step.node, accepted.text, structured)
