"""What the executor needs of a model provider. One provider a file beside this one."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from shared.errors import LekhikaError
from shared.model_listing import ModelListing
from shared.usage import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call. `output_schema` is JSON Schema; `max_tokens` counts thoughts too where the provider does.

    With `then`, the model has already answered `said` to the prompt, and `then` is what it is told next.
    """

    model: str
    prompt: str
    system: str | None = None
    temperature: float | None = None
    thinking: str | None = None
    max_tokens: int | None = None
    output_schema: dict[str, Any] | None = None
    said: str = ""
    then: str = ""


class Finish(StrEnum):
    """What the end of an answer means, whatever the provider calls it."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    """Cut at a token limit."""
    BLOCKED = "blocked"
    OTHER = "other"
    """A reason that says nothing against the text; also one that this release does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one chunk of a stream says. `tokens` is cumulative over the call."""

    text: str = ""
    tokens: Tokens | None = None
    model: str | None = None
    """The model that answers, which may not be the one asked."""
    response_id: str | None = None
    finish: Finish | None = None
    finish_reason: str | None = None
    """In the provider's own words."""
    block_reason: str | None = None
    """The prompt was blocked, and why."""


class ModelError(LekhikaError):
    """A call that gave no usable answer: a stable code and a text that tells the person what to do.

    `retryable` says that the same call may succeed later, `delay` after how many seconds the provider said so.
    `used` says that the provider may have begun to work although nothing came back; `free` that it refused the call
    before any work, so that repeating it costs nothing.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        delay: float | None = None,
        used: bool = False,
        free: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.delay = delay
        self.used = used
        self.free = free and not used

    def has_cost(self) -> None:
        """It came after the answer had begun."""
        self.used, self.free = True, False


class Caller(Protocol):
    """Who makes a call. Neither method waits for anything."""

    def receive(self, piece: Piece) -> None: ...

    def connected(self, hang_up: Callable[[], None]) -> None:
        """The answer begins. `hang_up` closes our side of the socket at once; what is under way can still be read."""


class Provider(Protocol):
    async def stream(self, request: ModelRequest, caller: "Caller") -> None:
        """Runs one call to its end and gives every chunk to the caller.

        Awaits nothing but the network, so that cancelling the task that runs it closes the socket at once.
        Raises: ModelError.
        """
        ...

    async def list_models(self) -> ModelListing:
        """What it offers to this key. Raises: ModelError."""
        ...

    async def aclose(self) -> None: ...
