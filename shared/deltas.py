"""Pieces of text on their way to the browser. Losing one is harmless: the log has the whole text later."""

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

from shared.usage import ModelUsage


class Waiting(BaseModel):
    """Why a node does not go on at the moment, and for about how many seconds.

    `reason` is `rate_limit` (its turn within the model's limits has not come), or the code of the error after which
    it is tried again: `quota`, `overloaded`, `provider_unreachable`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    reason: str
    seconds: float


class Delta(BaseModel):
    """A piece of a node's text within one start of this node, on the subject `deltas.<execution id>`.

    `node_attempt` counts the starts of the node over the whole history: a new one starts the text anew, and pieces
    of an older one are dropped. `usage` is cumulative over the call; what a dead executor had used is taken from it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    attempt: PositiveInt
    node: str
    node_attempt: PositiveInt
    offset: NonNegativeInt
    """In characters (code points) from the start of the text."""
    text: str = ""
    usage: ModelUsage | None = None
    waiting: Waiting | None = None


def encode(delta: Delta) -> bytes:
    return delta.model_dump_json(exclude_none=True).encode()


def decode(data: bytes) -> Delta | None:
    """None for what this release can not read; a piece is only ever a preview."""
    try:
        return Delta.model_validate_json(data)
    except ValidationError:
        return None
