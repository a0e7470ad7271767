"""Every event that the log can hold. Frozen, versioned, named in the past tense.

Unknown fields are ignored, so that an older reader survives a newer writer. An unknown type is an error.
The time of an event is the server's time stamp of its message, never a field of the event.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from shared.errors import UnknownEvent
from shared.usage import Kind, ModelUsage, Tier
from shared.workflow import Limits, Workflow


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class ArtifactRef(_Frozen):
    """Where a value too large for an event lies in the bucket `artifacts`."""

    artifact: str
    size: NonNegativeInt
    """In bytes."""
    sha256: str


class TextRef(_Frozen):
    """A text, inline or by reference; exactly one of the two is set."""

    text: str | None = None
    ref: ArtifactRef | None = None
    characters: NonNegativeInt = 0


class EngineRef(_Frozen):
    """The engine as it was called when the execution was requested. Later renaming changes no history."""

    id: str
    name: str
    version: PositiveInt


class ErrorInfo(_Frozen):
    """Why an execution failed: a stable code, a text that tells the person what to do, and where."""

    code: str
    message: str
    node: str | None = None


class StopInfo(_Frozen):
    """A stop from the asking to the closed socket. `by` is a user id or `system:<who>`."""

    by: str
    reason: str | None = None
    force: bool = False
    at: datetime
    heard_at: datetime | None = None
    closed_at: datetime | None = None


class Partial(_Frozen):
    """What an interrupted node had written and used; the usage is also part of the summary's."""

    node: str
    attempt: PositiveInt
    output: TextRef = TextRef()
    usage: tuple[ModelUsage, ...] = ()


class Summary(_Frozen):
    """What a terminal event says about the whole execution, so that no reader needs the history."""

    user_id: str
    engine: EngineRef
    kind: Kind
    attempt: NonNegativeInt
    requested_at: datetime
    started_at: datetime | None = None
    usage: tuple[ModelUsage, ...] = ()


class Event(_Frozen):
    version: Literal[1] = 1


class RequestBody(_Frozen):
    """The large part of a request: inline in the event, or an artifact with this model as its JSON."""

    workflow: Workflow
    input: dict[str, Any]


class ExecutionRequested(Event):
    """All that is needed to run the execution and to report it."""

    type: Literal["requested"] = "requested"
    user_id: str
    lane: str
    """`now`, or `later.<p>`: see `shared.subjects`."""
    engine: EngineRef
    kind: Kind
    tiers: dict[str, Tier] = {}
    """The tier of each model that the workflow names, as the catalogue had it at the request."""
    body: RequestBody | ArtifactRef
    limits: Limits
    trace: dict[str, str] = {}
    """W3C trace context of the request."""


class ExecutionRequeued(Event):
    """Put into a lane again: promoted by the gateway, or found lost by the janitor."""

    type: Literal["requeued"] = "requeued"
    user_id: str
    lane: str
    reason: str


class ExecutionStarted(Event):
    """A claim: `instance` owns the execution from here on. `lost` is what the attempt before had used."""

    type: Literal["started"] = "started"
    attempt: PositiveInt
    instance: str
    lost: tuple[ModelUsage, ...] = ()


class NodeStarted(Event):
    """Appended just before every model call, retries included: no call begins without it.

    `node_attempt` counts the starts of this node over the whole history, from 1.
    """

    type: Literal["node_started"] = "node_started"
    attempt: PositiveInt
    node: str
    kind: str
    node_attempt: PositiveInt
    model: str | None = None
    items: NonNegativeInt | None = None
    """Of a for_each: how many items it will run; of other nodes that are made of nodes this is not known before."""
    lost: tuple[ModelUsage, ...] = ()
    """What the call before had used, which failed or is gone on with."""


class NodeCompleted(Event):
    """A node is finished and never runs again. `output` is its text; JSON text for structured output."""

    type: Literal["node_completed"] = "node_completed"
    attempt: PositiveInt
    node: str
    kind: str
    node_attempt: PositiveInt
    output: TextRef
    structured: bool = False
    truncated: bool = False
    finish_reason: str | None = None
    usage: tuple[ModelUsage, ...] = ()


class ReleaseReason(StrEnum):
    SHUTDOWN = "shutdown"
    DRAIN = "drain"
    OVERLOADED = "overloaded"


class ExecutionReleased(Event):
    """A hand-back: the owner gives the execution up; `usage` is that of its interrupted calls."""

    type: Literal["released"] = "released"
    attempt: PositiveInt
    instance: str
    reason: ReleaseReason
    usage: tuple[ModelUsage, ...] = ()


class StopRequested(Event):
    type: Literal["stop_requested"] = "stop_requested"
    by: str
    reason: str | None = None
    force: bool = False


class ExecutionCompleted(Event):
    type: Literal["completed"] = "completed"
    summary: Summary
    output: str
    """The id of the node whose output is the execution's."""


class ExecutionStopped(Event):
    type: Literal["stopped"] = "stopped"
    summary: Summary
    stop: StopInfo
    partials: tuple[Partial, ...] = ()


class ExecutionFailed(Event):
    type: Literal["failed"] = "failed"
    summary: Summary
    error: ErrorInfo
    partials: tuple[Partial, ...] = ()


class ExecutionPruned(Event):
    """A tombstone: the history is gone. `usage` answers for it until the tombstone expires too."""

    type: Literal["pruned"] = "pruned"
    user_id: str
    ended: str
    """The status it had ended with."""
    ended_at: datetime
    keep_seconds: PositiveInt = 7 * 24 * 3600
    """How long the tombstone itself is kept."""
    usage: tuple[ModelUsage, ...] = ()


TerminalEvent = ExecutionCompleted | ExecutionStopped | ExecutionFailed
AnyEvent = (
    ExecutionRequested
    | ExecutionRequeued
    | ExecutionStarted
    | NodeStarted
    | NodeCompleted
    | ExecutionReleased
    | StopRequested
    | ExecutionCompleted
    | ExecutionStopped
    | ExecutionFailed
    | ExecutionPruned
)
TERMINAL_TYPES = ("completed", "stopped", "failed")

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="type")])


@dataclass(slots=True, kw_only=True)
class Recorded:
    """An event as the log holds it. Whoever makes one has proven its parts: it is no model that proves them again.

    Nobody changes one. It is not frozen because that takes more than twice as long to make, and there are thousands a second.
    """

    execution_id: str
    event: AnyEvent
    seq: int
    """Sequence in the stream EXECUTIONS."""
    time: datetime
    """The server's time stamp."""
    after: int
    """Sequence of this execution's event before, as the writer's guard named it; 0 for the first."""
    message_id: str = ""


def encode(event: AnyEvent) -> bytes:
    """The stored form: JSON, without fields that have no value."""
    return event.model_dump_json(exclude_none=True, by_alias=True).encode()


def decode(data: bytes) -> AnyEvent:
    """Raises: UnknownEvent, when this release can not read it."""
    try:
        return _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise unreadable(error) from None


def unreadable(error: ValidationError) -> UnknownEvent:
    """Says where, and never what was there."""
    where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
    return UnknownEvent(f"event can not be read: {where}")
