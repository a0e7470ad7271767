"""docs/asyncapi.json: every event with its subject and schema, and who listens: `python -m tests.support.asyncapi`."""

import json
from pathlib import Path
from typing import Any

from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI

from services.executor.model_list import answer_lists
from services.executor.signals import subscribe
from shared import events as ev
from shared import subjects
from shared.deltas import Delta

PAGE = Path(__file__).parents[2] / "docs" / "asyncapi.json"
EVENTS: tuple[type[ev.Event], ...] = (
    ev.ExecutionRequested,
    ev.ExecutionRequeued,
    ev.ExecutionStarted,
    ev.NodeStarted,
    ev.NodeCompleted,
    ev.ExecutionReleased,
    ev.StopRequested,
    ev.ExecutionCompleted,
    ev.ExecutionStopped,
    ev.ExecutionFailed,
    ev.ExecutionPruned,
)


class _NothingRuns:
    def __init__(self) -> None:
        self.running: dict[str, Any] = {}


def document() -> dict[str, Any]:
    """The document of the whole system. Raises: nothing; it connects to nothing."""
    broker = NatsBroker()
    for event in EVENTS:
        kind = event.model_fields["type"].default
        lane = ".{lane}.{user_id}" if kind in subjects.REQUEST_TYPES else ""
        broker.publisher(
            f"executions.{{execution_id}}.{kind}{lane}",
            schema=event,
            title=event.__name__,
            description=" ".join((event.__doc__ or "").split()),
        )
    broker.publisher("deltas.{execution_id}", schema=Delta, title="Delta", description=Delta.__doc__)
    subscribe(broker, _NothingRuns())  # type: ignore[arg-type]
    answer_lists(broker, _NothingRuns())  # type: ignore[arg-type]
    for title, subject, text in (
        ("projection", subjects.ALL_EXECUTIONS, "Durable: the read model of executions follows the log."),
        ("analytics", "executions.*.{completed,stopped,failed}", "Durable: ends become ledger and rollups."),
        ("lanes", "executions.*.{requested,requeued}.{lane}.*", "Durable, one for each lane: the queue."),
    ):
        broker.subscriber(subject, title=title, description=text)(_nothing)
    made: dict[str, Any] = json.loads(
        AsyncAPI(broker, title="Lekhika", version="1", description=DESCRIPTION).to_specification().to_json()
    )
    return made


DESCRIPTION = (
    "Events of the stream EXECUTIONS, and the pieces of text in DELTAS. Stored events are republished under "
    "`committed.`. Every append carries a guard; see ARCHITECTURE.md."
)


async def _nothing(message: bytes) -> None:
    """Stands for the reader."""


def text() -> str:
    return json.dumps(document(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
