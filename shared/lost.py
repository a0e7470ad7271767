"""What is left of model calls that their executor did not end itself: their last deltas, as far as there are any."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from nats.aio.client import Client

from shared import deltas, subjects
from shared.artifacts import Artifacts, room_of_one
from shared.deltas import Delta
from shared.ending import OpenCall, estimated, unknown_usage
from shared.errors import Unavailable
from shared.execution import ExecutionState, NodeState, NodeStatus
from shared.jetstream import direct_get
from shared.usage import Certainty, ModelUsage, Tier

TRIES = 2


def text_of(pieces: Iterable[Delta]) -> str:
    """The text up to the first piece that was lost; repeats and overlaps are harmless."""
    text = ""
    for piece in sorted(pieces, key=lambda piece: piece.offset):
        if piece.offset > len(text):
            break
        text += piece.text[len(text) - piece.offset :]
    return text


def _running(state: ExecutionState) -> Sequence[NodeState]:
    return [
        node for node in state.nodes.values() if node.status is NodeStatus.RUNNING and node.model is not None
    ]


def _own(node: NodeState, heard: Sequence[Delta]) -> Sequence[Delta]:
    return [piece for piece in heard if (piece.node, piece.node_attempt) == (node.id, node.attempts)]


def _usage(node: NodeState, state: ExecutionState, pieces: Sequence[Delta]) -> ModelUsage:
    """The last report as an estimate: nobody can finish the call any more. Without a report it is unknown."""
    reports = [
        piece.usage
        for piece in pieces
        if piece.usage is not None and piece.usage.tokens.certainty is not Certainty.UNKNOWN
    ]
    if reports:
        return estimated(max(reports, key=lambda report: report.tokens.total))
    model = node.model or "unknown"
    return unknown_usage(model, state.tiers.get(model, Tier.PAYG))


async def read_deltas(nc: Client, execution_id: str) -> list[Delta]:
    """All deltas of an execution that are still there, oldest first. Raises: Unavailable."""
    request = {"seq": 1, "next_by_subj": subjects.deltas(execution_id), "batch": 100_000}
    found = [deltas.decode(msg.data) async for msg in direct_get(nc, subjects.DELTAS, request)]
    return [delta for delta in found if delta is not None]


async def _heard(nc: Client, state: ExecutionState) -> list[Delta]:
    """Losing pieces is harmless: when their stream is away, a call counts as unknown instead of waiting for it."""
    for _ in range(TRIES):
        try:
            return await read_deltas(nc, state.id)
        except Unavailable:
            continue
    return []


async def lost_usage(nc: Client, state: ExecutionState) -> tuple[ModelUsage, ...]:
    """What the open calls of an attempt that is over had used."""
    nodes = _running(state)
    heard = await _heard(nc, state) if nodes else []
    return tuple(_usage(node, state, _own(node, heard)) for node in nodes)


async def open_calls(nc: Client, artifacts: Artifacts, state: ExecutionState) -> Sequence[OpenCall]:
    """What an end says about the calls that are open."""
    nodes = _running(state)
    heard = await _heard(nc, state) if nodes else []
    room = room_of_one(len(nodes))

    async def call(node: NodeState) -> OpenCall:
        pieces = _own(node, heard)
        text = await artifacts.put_partial(state.id, text_of(pieces), inline=room)
        usage = (_usage(node, state, pieces),)
        return OpenCall(node=node.id, node_attempt=node.attempts, text=text, usage=usage)

    return await asyncio.gather(*(call(node) for node in nodes))


async def running_texts(nc: Client, state: ExecutionState) -> Mapping[str, str]:
    """What the nodes that are being written have so far."""
    nodes = _running(state)
    heard = await _heard(nc, state) if nodes else []
    return {node.id: text_of(_own(node, heard)) for node in nodes}
