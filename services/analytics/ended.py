"""The end of an execution as it is counted: of a terminal event only what the ledger has.

These are by far the most events that one service reads, and models of the whole event take nearly twice as long to read
(docs/benchmarks.md). What the ledger does not need, a release need not understand.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from nats.aio.msg import Msg
from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from shared.events import unreadable
from shared.messages import MESSAGE_ID, delivered
from shared.subjects import execution_of
from shared.usage import Kind, ModelUsage


@checked(slots=True, kw_only=True)
class Engine:
    """As `shared.events.EngineRef`."""

    id: str
    name: str


@checked(slots=True, kw_only=True)
class Summary:
    """As `shared.events.Summary`."""

    user_id: str
    engine: Engine
    kind: Kind
    attempt: NonNegativeInt
    requested_at: datetime
    started_at: datetime | None = None
    usage: tuple[ModelUsage, ...] = ()


@checked(slots=True, kw_only=True)
class Outcome:
    """What `ExecutionCompleted`, `ExecutionStopped` and `ExecutionFailed` of `shared.events` have in common."""

    version: Literal[1] = 1
    type: Literal["completed", "stopped", "failed"]
    summary: Summary


_ADAPTER = TypeAdapter(Outcome)


# Nobody changes these. They are not frozen because that takes more than twice as long to make.


@dataclass(slots=True, kw_only=True)
class Origin:
    """A terminal event as it came. `time` is the server's; without a message's id the place in the log is the `event_id`."""

    event_id: str
    execution_id: str
    seq: int
    time: datetime
    body: bytes


@dataclass(slots=True, kw_only=True)
class Ended(Origin):
    """One that this release can read."""

    outcome: Outcome


def origin_of(message: Msg) -> Origin:
    return Origin(**_place(message))


def ended(message: Msg) -> Ended:
    """Raises: UnknownEvent, when this release can not read it."""
    return Ended(**_place(message), outcome=outcome_of(message.data))


def _place(message: Msg) -> dict[str, Any]:
    execution_id, (seq, time) = execution_of(message.subject), delivered(message)
    return {
        "event_id": (message.headers or {}).get(MESSAGE_ID) or f"{execution_id}:{seq}",
        "execution_id": execution_id,
        "seq": seq,
        "time": time,
        "body": message.data,
    }


def outcome_of(body: bytes) -> Outcome:
    """Raises: UnknownEvent, when this release can not read it."""
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        raise unreadable(error) from None
