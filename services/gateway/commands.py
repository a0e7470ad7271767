"""Starting and stopping: what is decided about an execution, and the guarded append that makes it so."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from services.gateway.auth import Principal
from services.gateway.idempotency import Fixed
from services.gateway.parts import Parts
from services.gateway.problems import FieldError, Problem, invalid, unreadable
from services.gateway.queries import load_own, not_found, present, retention
from services.gateway.resource import execution_json
from shared import conventions, ending, telemetry
from shared import events as ev
from shared.errors import Conflict, Unavailable, UnknownEvent
from shared.execution import ExecutionState, Status, fold
from shared.fault_points import Point, reach
from shared.ids import is_id, new_id
from shared.lost import open_calls
from shared.usage import kind_of
from shared.validation import check_input
from shared.workflow import Limits, models_used

if TYPE_CHECKING:
    from services.gateway.catalogue import StoredEngine

FORCE_WAIT = 2.0
"""Seconds that a forced stop leaves the executor to end it with exact figures."""
STOP_SECONDS = 14.0
"""A stop that could not be settled by then is answered 503; asking again does no harm."""
STOP_STORED = (
    "The stop is stored, and whoever runs the execution is told. How it ends can not be shown here: its history was "
    "written by another release."
)
QUICK_TRIES = 5
_RUNNING = frozenset({"started", "node_started", "node_completed"})
"""After these somebody owns it and nobody has asked for a stop: a stop allows none of them."""
ANNOUNCED_SECONDS = 0.05

Answer = tuple[int, dict[str, Any]]
"""HTTP status and the execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A request to run an engine, checked for its form only."""

    engine: str
    input: Mapping[str, Any]
    limits: Mapping[str, int]
    key: str | None = None
    """Idempotency-Key."""
    digest: str = ""
    """Of the body; needed with a key."""


async def start(parts: Parts, principal: Principal, wanted: Start) -> Answer:
    """202 with the new execution; 200 with the one that the same key and body have started before.

    Raises: Problem 404, 410, 422; LogFull; Unavailable.
    """
    if wanted.key is not None:
        fixed = await parts.idempotency.find(principal.user_id, wanted.key)
        if fixed is not None:
            return await _again(parts, principal, wanted, fixed)
    engine = await parts.catalogue.engine(principal.user_id, wanted.engine)
    if engine is None:
        raise _no_engine(wanted.engine)
    body = ev.RequestBody(workflow=engine.definition.workflow(), input=_checked(engine, wanted.input))
    execution_id = new_id()
    if wanted.key is not None:
        mine = Fixed(execution_id, wanted.digest)
        fixed = await parts.idempotency.fix(principal.user_id, wanted.key, mine)
        if fixed != mine:
            return await _again(parts, principal, wanted, fixed)
        reach(Point.GATEWAY_KEY_FIXED)
    return await _request(parts, principal, wanted, engine, body, execution_id)


def _no_engine(engine_id: str) -> Problem:
    detail = (
        f"There is no engine {engine_id[:100]!r} of yours or shared with you; GET /v1/engines lists them."
    )
    return Problem(
        404, "engine_not_found", "No such engine", detail, [FieldError("engine", "names no engine of yours")]
    )


def _checked(engine: "StoredEngine", given: Mapping[str, Any]) -> dict[str, Any]:
    values, faults = check_input(engine.definition.inputs, given)
    if faults:
        errors = [FieldError(f"input.{fault.field.removeprefix('input.')}", fault.detail) for fault in faults]
        raise invalid(f"{errors[0].field}: {errors[0].detail}", errors, "invalid_input")
    return dict(values)


async def _again(parts: Parts, principal: Principal, wanted: Start, fixed: Fixed) -> Answer:
    """The key was used before. If that request never got to its append, this one does it under the same id."""
    if fixed.digest != wanted.digest:
        detail = "This Idempotency-Key was used for a request with another body in the last 48 hours."
        raise Problem(
            422, "idempotency_key_reused", "The key was used before", detail,
            [FieldError("Idempotency-Key", "was used with another body")],
        )  # fmt: skip
    if await parts.log.last(fixed.execution_id) is None:
        engine = await parts.catalogue.engine(principal.user_id, wanted.engine)
        if engine is None:
            raise _no_engine(wanted.engine)
        body = ev.RequestBody(workflow=engine.definition.workflow(), input=_checked(engine, wanted.input))
        return await _request(parts, principal, wanted, engine, body, fixed.execution_id)
    _, state = await load_own(parts, principal, fixed.execution_id)
    return 200, await present(parts, state)


async def _request(
    parts: Parts,
    principal: Principal,
    wanted: Start,
    engine: "StoredEngine",
    body: ev.RequestBody,
    execution_id: str,
) -> Answer:
    parts.room.require()
    tiers = await parts.catalogue.tiers(models_used(body.workflow))
    headers = telemetry.inject({})
    stored_body = await parts.artifacts.put_body(execution_id, body)
    definition = engine.definition
    event = ev.ExecutionRequested(
        user_id=principal.user_id,
        lane=parts.lanes.reserve(execution_id, principal.user_id),
        engine=ev.EngineRef(id=definition.id, name=definition.name, version=engine.version),
        kind=kind_of(tiers.values()),
        tiers=dict(tiers),
        body=stored_body,
        limits=limits_for(definition.limits, wanted.limits, parts.settings.largest_limits()),
        trace=headers,
    )
    try:
        state = await _append_request(parts, execution_id, event, headers)
    except Conflict:  # somebody with the same key was first: it exists
        if isinstance(stored_body, ev.ArtifactRef):
            await parts.artifacts.delete(stored_body)
        _, state = await load_own(parts, principal, execution_id)
        return 200, await present(parts, state)
    except BaseException:
        parts.lanes.forget(execution_id)
        raise
    conventions.EXECUTIONS_REQUESTED.inc()
    return 202, execution_json(state, body, retention(parts), parts.lanes.place(execution_id))


async def _append_request(
    parts: Parts, execution_id: str, event: ev.ExecutionRequested, headers: Mapping[str, str]
) -> ExecutionState:
    """The state that it leads to, with the server's time, which its copy brings; with ours, if that is late."""
    async with parts.lanes.announced(execution_id) as heard:
        seq = await parts.log.append(execution_id, event, 0, headers=headers)
        reach(Point.GATEWAY_REQUESTED)
        try:
            async with asyncio.timeout(ANNOUNCED_SECONDS):
                stored_at = await heard
        except TimeoutError:
            stored_at = datetime.now(UTC)
    state = fold([ev.Recorded(execution_id=execution_id, event=event, seq=seq, time=stored_at, after=0)])
    assert state is not None
    return state


def limits_for(engine: Limits | None, given: Mapping[str, int], largest: Limits) -> Limits:
    """What is given, else the engine's, else the defaults; never more than the largest."""
    base = (engine or Limits()).model_dump() | dict(given)
    return Limits(**{name: min(value, getattr(largest, name)) for name, value in base.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Who asks for a stop, and how hard. `at_once` spares the wait before it may be forced."""

    by: str
    reason: str | None = None
    force: bool = False
    at_once: bool = False


async def stop(parts: Parts, principal: Principal, execution_id: str, wanted: Stop) -> Answer:
    """202 with the execution while it was still to be stopped, 200 when it had ended.

    Raises: Problem 404, 409 (`force_too_early`), 410, 503 (the stop is stored, the history can not be read); LogFull;
    Unavailable; UnknownEvent.
    """
    async with _in_time(execution_id):
        asked = not wanted.force and await _ask_at_once(parts, principal.user_id, execution_id, wanted)
        try:
            _, state = await load_own(parts, principal, execution_id)
            return (202, await present(parts, state)) if asked else await _settle(parts, state, wanted)
        except UnknownEvent as error:
            if asked or (not wanted.force and await _was_asked(parts, principal, execution_id)):
                raise unreadable(STOP_STORED) from error
            raise


async def force(parts: Parts, execution_id: str, wanted: Stop) -> Answer:
    """Ends anybody's execution. Raises: Problem 404; LogFull; Unavailable."""
    async with _in_time(execution_id):
        await _ask_at_once(parts, None, execution_id, wanted)
        state = fold(await parts.log.load(execution_id)) if is_id(execution_id) else None
        if state is None:
            raise not_found()
        return await _settle(parts, state, wanted)


@contextlib.asynccontextmanager
async def _in_time(execution_id: str) -> AsyncIterator[None]:
    """Raises: Unavailable, when the block takes too long."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            yield
    except TimeoutError as error:
        raise Unavailable(f"the stop of {execution_id} was not settled in {STOP_SECONDS:g} s") from error


async def _ask_at_once(parts: Parts, user_id: str | None, execution_id: str, wanted: Stop) -> bool:
    """Asks the one who runs it before the history is read, which may be long, or written by another release.

    `user_id` None: whosever it is. False when that is not all there is to do. Raises: LogFull; Unavailable.
    """
    for _ in range(QUICK_TRIES):
        after = await _place_of_stop(parts, user_id, execution_id)
        if after is None:
            return False
        event = ev.StopRequested(by=wanted.by, reason=wanted.reason, force=wanted.force)
        with contextlib.suppress(Conflict):
            await parts.log.append(
                execution_id, event, after, headers=telemetry.inject({}), whose_first=False
            )
            reach(Point.GATEWAY_STOP_STORED)
            return True
    return False


async def _place_of_stop(parts: Parts, user_id: str | None, execution_id: str) -> int | None:
    """The sequence after which a stop may be asked for without another look; None when there is more to decide.

    What is known to run needs one short request. Raises: Unavailable.
    """
    if parts.lanes.runs(execution_id, user_id):
        tip = await parts.log.tip(execution_id)
        if tip is not None and tip.kind in _RUNNING:
            return tip.seq
    outline = await parts.log.outline(execution_id) if is_id(execution_id) else None
    if outline is None or not outline.runs or user_id not in (None, outline.user_id):
        return None
    return outline.last_seq


async def _was_asked(parts: Parts, principal: Principal, execution_id: str) -> bool:
    """Raises: Unavailable; UnknownEvent, when not even its request can be read."""
    outline = await parts.log.outline(execution_id)
    return outline is not None and outline.user_id == principal.user_id and "stop_requested" in outline.last


async def _settle(parts: Parts, state: ExecutionState, wanted: Stop) -> Answer:
    """Decides anew whenever somebody else's event came between: a stop is never refused for that."""
    while True:
        try:
            code, state = await _stop_once(parts, state, wanted)
        except Conflict:
            state = await _reload(parts, state)
        else:
            return code, await present(parts, state)


async def _stop_once(parts: Parts, state: ExecutionState, wanted: Stop) -> tuple[int, ExecutionState]:
    """Raises: Conflict, when the state is not the newest any more."""
    if state.ended:
        return 200, state
    if state.owner is None:
        event = ending.stopped(state, by=wanted.by, reason=wanted.reason, force=wanted.force, at=_now(state))
        return 202, await _append_end(parts, state, event)
    if not wanted.force:
        return 202, state if state.status is Status.STOPPING else await _ask(
            parts, state, wanted, force=False
        )
    if not wanted.at_once:
        if state.stop is None:
            return 202, await _ask(parts, state, wanted, force=False)
        _check_patience(state.stop, parts.settings.force_after_seconds)
    if state.stop is None or not state.stop.force:
        state = await _ask(parts, state, wanted, force=True)
    return 200, await _force(parts, state, wanted)


def _now(state: ExecutionState) -> datetime:
    """Ours, unless it is behind the server's, which every other time in the history is of."""
    return max(datetime.now(UTC), state.last_at)


def _check_patience(stop: ev.StopInfo, seconds: float) -> None:
    left = (stop.at + timedelta(seconds=seconds) - datetime.now(UTC)).total_seconds()
    if left > 0:
        detail = f"The worker may still end it in order. A stop can be forced {seconds:g} seconds after it was asked for."
        raise Problem(
            409, "force_too_early", "Too early to force", detail, headers={"Retry-After": str(int(left) + 1)}
        )


async def _ask(parts: Parts, state: ExecutionState, wanted: Stop, *, force: bool) -> ExecutionState:
    event = ev.StopRequested(by=wanted.by, reason=wanted.reason, force=force)
    await _append(parts, state, event)
    reach(Point.GATEWAY_STOP_STORED)
    return await _reload(parts, state)


async def _force(parts: Parts, state: ExecutionState, wanted: Stop) -> ExecutionState:
    """Gives the executor its two seconds, then ends the execution with what its deltas tell."""
    deadline = asyncio.get_running_loop().time() + FORCE_WAIT
    async with parts.log.follow(state.id) as follower:
        follower.position = state.last_seq
        state = fold(await follower.catch_up(), state) or state
        while not state.ended and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    state = fold(await follower.next(), state) or state
    if not state.ended:
        state = await _reload(parts, state)
    while not state.ended:
        calls = await open_calls(parts.nc, parts.artifacts, state)
        event = ending.stopped(state, by=wanted.by, reason=wanted.reason, at=_now(state), open_calls=calls)
        try:
            state = await _append_end(parts, state, event)
            reach(Point.GATEWAY_FORCED)
        except Conflict:
            state = await _reload(parts, state)
    return state


async def _append_end(parts: Parts, state: ExecutionState, event: ev.ExecutionStopped) -> ExecutionState:
    await _append(parts, state, event)
    conventions.EXECUTIONS_ENDED.labels(outcome=event.type, kind=state.kind.value).inc()
    return await _reload(parts, state)


async def _append(parts: Parts, state: ExecutionState, event: ev.AnyEvent) -> None:
    await parts.log.append(state.id, event, state.last_seq, headers=telemetry.inject({}))


async def _reload(parts: Parts, state: ExecutionState) -> ExecutionState:
    """The newest state. Raises: Problem 404, when the history went away meanwhile; Unavailable."""
    found = fold(await parts.log.load(state.id, state.last_seq), state)
    if found is None:
        raise not_found()
    return found
