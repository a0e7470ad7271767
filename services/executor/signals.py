"""Stops and ends that others append, heard as they are stored. A hint: `Worker.look_for_missed` finds the rest."""

from faststream.nats import NatsBroker, NatsMessage

from services.executor.worker import Worker
from shared import subjects
from shared.messages import from_copy

HEARD = ("stop_requested", "stopped", "failed")


async def _whole(message: NatsMessage) -> NatsMessage:
    """Headers say what is needed of most; few are decoded."""
    return message


def subscribe(broker: NatsBroker, worker: Worker) -> None:
    """Adds the subscriptions; they begin with the broker."""

    async def heard(message: NatsMessage) -> None:
        raw = message.raw_message
        if subjects.execution_of(raw.subject) in worker.running:
            worker.heard(from_copy(raw))

    for kind in HEARD:
        broker.subscriber(
            subjects.committed("*", kind),
            decoder=_whole,
            title=f"executor:{kind}",
            description="A stored event of any execution; acted on by the executor that runs it.",
        )(heard)
