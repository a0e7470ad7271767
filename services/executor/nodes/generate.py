"""A model call as a node: started in the log, streamed to the viewers, judged at its end, completed in the log."""

import asyncio
import random
import time

from services.executor.call import Call
from services.executor.models.answer import Accepted, judge
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.nodes.context import NodeFailed, Run
from services.executor.nodes.keep import keep_text
from services.executor.retry import next_delay
from services.executor.steps import CallModel
from shared import conventions as metrics
from shared.deltas import Delta, Waiting
from shared.events import NodeCompleted, NodeStarted
from shared.execution import ExecutionState
from shared.fault_points import Point, reach
from shared.usage import ModelUsage, Tier

CLOSE_SECONDS = 2.0


async def run_generate(run: Run, step: CallModel) -> None:
    """Raises: NodeFailed, once every try is used up; Fenced and StopSeen, from the journal."""
    request = _request(step)
    tries = 0
    lost: tuple[ModelUsage, ...] = ()
    while not run.interrupted():
        attempt = step.node_attempt + tries
        await run.journal.append_to_act(lambda state: _started(state, step, attempt, lost))  # noqa: B023 - appended at once
        reach(Point.EXECUTOR_NODE_STARTED)
        if run.interrupted():
            return
        tier = run.journal.state.tiers.get(request.model, Tier.PAYG)
        call = Call(run.provider, request, tier, step.node, attempt)
        run.opened(call)
        call.begin()
        tries += 1
        try:
            accepted = await _follow(run, call)
        except ModelError as error:
            lost = call.usage
            await _wait_or_fail(run, call, error, tries)
            continue
        if accepted is not None:
            await _complete(run, step, call, accepted)
        return


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
    state: ExecutionState, step: CallModel, attempt: int, lost: tuple[ModelUsage, ...]
) -> NodeStarted:
    model = step.prompt.task.model
    return NodeStarted(
        attempt=state.attempt, node=step.node, kind="generate", node_attempt=attempt, model=model, lost=lost
    )


async def _follow(run: Run, call: Call) -> Accepted | None:
    """Publishes what arrives until the end. None when the call was ended from outside.

    Raises: ModelError, also for a provider that goes silent.
    """
    began = time.monotonic()
    sent = 0
    while not call.done:
        seconds = run.times.between if call.begun else run.times.first
        left = began + run.times.whole - time.monotonic()
        if not await call.more(min(seconds, left)):
            await _give_up(call)
        if call.begun and sent == 0:
            metrics.MODEL_FIRST_CHUNK.labels(metrics.model_label(call.request.model)).observe(
                time.monotonic() - began
            )
        sent = await _publish(run, call, sent)
        await call.closed(run.times.merge)
    await _publish(run, call, sent)
    return _judged(call, time.monotonic() - began)


def _judged(call: Call, seconds: float) -> Accepted | None:
    model = metrics.model_label(call.request.model)
    metrics.MODEL_SECONDS.labels(model).observe(seconds)
    try:
        if call.aborted:
            metrics.MODEL_CALLS.labels(model, "cancelled").inc()
            return None
        if call.error is not None:
            raise call.error
        accepted = judge(call.request, call.answer)
    except ModelError as error:
        metrics.MODEL_CALLS.labels(model, error.code).inc()
        raise
    metrics.MODEL_CALLS.labels(model, "ok").inc()
    return accepted


async def _give_up(call: Call) -> None:
    call.abort()
    await call.closed(CLOSE_SECONDS)
    call.error = call.error or ModelError(
        "provider_timeout",
        "Gemini does not go on with its answer. Try again later.",
        retryable=True,
        used=True,
    )
    call.aborted = False


async def _publish(run: Run, call: Call, sent: int) -> int:
    text = call.text
    if len(text) > sent:
        usage = call.usage
        await run.publish(
            Delta(
                attempt=run.journal.state.attempt,
                node=call.node,
                node_attempt=call.node_attempt,
                offset=sent,
                text=text[sent:],
                usage=usage[0] if usage else None,
            )
        )
    run.progressed()
    return len(text)


async def _wait_or_fail(run: Run, call: Call, error: ModelError, tries: int) -> None:
    delay = next_delay(error, tries, random.random())  # noqa: S311 - jitter
    if delay is None:
        raise NodeFailed(call.node, error.code, error.message) from error
    waiting = Waiting(reason=error.code, seconds=round(delay, 3))
    await run.publish(
        Delta(
            attempt=run.journal.state.attempt,
            node=call.node,
            node_attempt=call.node_attempt,
            offset=len(call.text),
            waiting=waiting,
        )
    )
    await asyncio.sleep(delay)


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
    for usage in call.usage:
        model = metrics.model_label(usage.model)
        for kind in ("input", "cached", "output", "thoughts", "tool"):
            metrics.TOKENS.labels(model, kind).inc(getattr(usage.tokens, kind))
    run.finished(step.node, accepted.text, structured)
