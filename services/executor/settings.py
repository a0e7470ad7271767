"""Settings of the executor."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr

from services.executor.nodes.context import CallTimes
from shared.settings import ServiceSettings

Seconds = Annotated[float, Field(gt=0)]


class ExecutorSettings(ServiceSettings):
    """From the environment; see docs/settings.md."""

    gemini_api_key: SecretStr = Field(validation_alias=AliasChoices("GEMINI_API_KEY", "gemini_api_key"))
    """Key for the Gemini API."""
    gemini_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("GEMINI_BASE_URL", "gemini_base_url")
    )
    """Another address of the API, such as the stand-in's."""
    slots: Annotated[int, Field(ge=2, le=1_000)] = 50
    """Executions at once."""
    ack_wait_seconds: Seconds = 6.0
    """As in the topology: a fifth of it is the time between two signs of progress."""
    max_losses: Annotated[int, Field(ge=1)] = 10
    """How many executors may be lost while they run an execution before it fails. A hand-back is no loss."""
    first_chunk_seconds: Seconds = 120.0
    """How long a model may take to send its first chunk."""
    between_chunks_seconds: Seconds = 60.0
    """How long a model may be silent between two chunks."""
    call_seconds: Seconds = 900.0
    """How long one model call may take in all."""
    merge_seconds: Seconds = 0.03
    """Pieces of text that arrive within it are published as one."""
    shutdown_seconds: Seconds = 4.0
    """How long handing everything back may take when the process is asked to end."""

    @property
    def times(self) -> CallTimes:
        return CallTimes(
            first=self.first_chunk_seconds,
            between=self.between_chunks_seconds,
            whole=self.call_seconds,
            merge=self.merge_seconds,
        )
