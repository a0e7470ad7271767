"""What an attempt that is over had used, as far as its last deltas tell."""

from nats.aio.client import Client

from shared import deltas, subjects
from shared.ending import OpenCall, estimated, unknown_usage
from shared.events import TextRef
from shared.execution import ExecutionState, NodeState, NodeStatus
from shared.jetstream import direct_get
from shared.usage import Tier

MAX_TEXT = 16 * 1024
"""Characters of a lost call's text that are kept."""


async def lost_usage(nc: Client, state: ExecutionState) -> list[OpenCall]:
    """The open calls of an execution whose owner is gone, each with its last reported usage, estimated.

    A call of which no delta was heard is unknown. Raises: Unavailable.
    """
    open_nodes = [
        node
        for node in state.nodes.values()
        if node.status is NodeStatus.RUNNING and node.kind == "generate"
    ]
    if not open_nodes or state.owner is None:
        return []
    heard = await read_deltas(nc, state.id)
    return [_call(node, state, heard) for node in open_nodes]


def _call(node: NodeState, state: ExecutionState, heard: list[deltas.Delta]) -> OpenCall:
    own = [delta for delta in heard if delta.node == node.id and delta.node_attempt == node.attempts]
    reported = [delta.usage for delta in own if delta.usage is not None]
    if reported:
        usage = estimated(reported[-1])
    else:
        model = node.model or "unknown"
        usage = unknown_usage(model, state.tiers.get(model, Tier.INCLUDED))
    text = _contiguous(own)[:MAX_TEXT]
    return OpenCall(
        node=node.id,
        node_attempt=node.attempts,
        text=TextRef(text=text, characters=len(text)) if text else None,
        usage=(usage,),
    )


def _contiguous(pieces: list[deltas.Delta]) -> str:
    text = ""
    for piece in sorted(pieces, key=lambda delta: delta.offset):
        if piece.offset > len(text):
            break
        text = text[: piece.offset] + piece.text
    return text


async def read_deltas(nc: Client, execution_id: str) -> list[deltas.Delta]:
    """All deltas of an execution that are still there, oldest first. Raises: Unavailable."""
    request = {"seq": 1, "next_by_subj": subjects.deltas(execution_id), "batch": 100_000}
    found = [deltas.decode(msg.data) async for msg in direct_get(nc, subjects.DELTAS, request)]
    return [delta for delta in found if delta is not None]
