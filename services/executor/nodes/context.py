"""What a node needs of the run that it belongs to."""

from dataclasses import dataclass
from typing import Protocol

from services.executor.apart import Apart
from services.executor.call import Call
from services.executor.journal import Journal
from services.executor.models.gate import Gate
from services.executor.models.provider import Provider
from services.executor.retry import Retries
from shared.artifacts import Artifacts
from shared.deltas import Delta


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """Seconds. `first` until the first chunk, `between` two chunks, `whole` for one call."""

    first: float
    between: float
    whole: float
    merge: float
    """Pieces that arrive within it are published as one."""


class Run(Protocol):
    """The side of a run that its nodes see."""

    journal: Journal
    provider: Provider
    artifacts: Artifacts
    times: CallTimes
    gate: Gate
    retries: Retries
    apart: Apart
    fallback_model: str | None
    """Asked when a node's own model stays away."""
    troubles: dict[str, str]
    """Why nodes wait, in words, by node: the reason of an end that comes meanwhile."""

    def seconds_left(self) -> float:
        """Of the execution's time."""
        ...

    def interrupted(self) -> bool:
        """Whether no new call may begin."""
        ...

    def opened(self, call: Call) -> None:
        """The call of a node began: from here on its text and usage belong to the end, if it comes first."""
        ...

    def progressed(self, adding: int = 0) -> None:
        """Usage or text grew, or would grow by `adding` bytes: limits are checked."""
        ...

    async def publish(self, delta: Delta) -> None:
        """Sends a piece to the viewers; losing it is harmless."""
        ...

    def finished(self, node: str, text: str, structured: bool) -> None:
        """The node is completed in the log."""
        ...


class NodeFailed(Exception):
    """A node can not be completed; the execution fails with this."""

    def __init__(self, node: str, code: str, message: str) -> None:
        super().__init__(message)
        self.node = node
        self.code = code
        self.message = message
