"""The one way to build an end. Executor, gateway and janitor all use it, so that usage is complete in it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from shared import events as ev
from shared.execution import ExecutionState
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens, merge_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A model call that was open when the execution ended or changed hands."""

    node: str
    node_attempt: int
    text: ev.TextRef | None
    usage: tuple[ModelUsage, ...]


def unknown_usage(model: str, tier: Tier) -> ModelUsage:
    """A call of which nothing was heard: it may have cost something."""
    return ModelUsage(model=model, tier=tier, tokens=Tokens(certainty=Certainty.UNKNOWN))


def estimated(usage: ModelUsage) -> ModelUsage:
    """The same counts, known only from the last report of somebody who could not finish."""
    return replace(usage, tokens=replace(usage.tokens, certainty=Certainty.ESTIMATED))


def summary(state: ExecutionState, open_calls: Iterable[OpenCall] = ()) -> ev.Summary:
    """What every end says: who, which engine, and all usage, also of calls that never finished."""
    return ev.Summary(
        user_id=state.user_id,
        engine=state.engine,
        kind=state.kind,
        attempt=state.attempt,
        requested_at=state.requested_at,
        started_at=state.started_at,
        usage=merge_usage([*state.usage, *(u for call in open_calls for u in call.usage)]),
    )


def partials(open_calls: Iterable[OpenCall]) -> tuple[ev.Partial, ...]:
    return tuple(
        ev.Partial(
            node=call.node, attempt=call.node_attempt, output=call.text or ev.TextRef(), usage=call.usage
        )
        for call in open_calls
    )


def completed(state: ExecutionState, output: str) -> ev.ExecutionCompleted:
    return ev.ExecutionCompleted(summary=summary(state), output=output)


def stopped(
    state: ExecutionState,
    *,
    by: str,
    reason: str | None,
    at: datetime,
    force: bool = False,
    open_calls: Sequence[OpenCall] = (),
    heard_at: datetime | None = None,
    closed_at: datetime | None = None,
) -> ev.ExecutionStopped:
    """The end of a stop. If the history holds a stop request, that is the one that is answered."""
    asked = state.stop or ev.StopInfo(by=by, reason=reason, force=force, at=at)
    stop = asked.model_copy(update={"heard_at": heard_at, "closed_at": closed_at})
    return ev.ExecutionStopped(summary=summary(state, open_calls), stop=stop, partials=partials(open_calls))


def unreadable(user_id: str, requested_at: datetime, error: ev.ErrorInfo) -> ev.ExecutionFailed:
    """The end of an execution whose history can not be read: what its subject and its message say is all there is."""
    nobody = ev.EngineRef(id="unreadable", name="Unreadable request", version=1)
    known = ev.Summary(user_id=user_id, engine=nobody, kind=Kind.NONE, attempt=0, requested_at=requested_at)
    return ev.ExecutionFailed(summary=known, error=error)


def failed(
    state: ExecutionState, error: ev.ErrorInfo, open_calls: Sequence[OpenCall] = ()
) -> ev.ExecutionFailed:
    return ev.ExecutionFailed(summary=summary(state, open_calls), error=error, partials=partials(open_calls))
