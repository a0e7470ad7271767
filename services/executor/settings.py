"""Settings of the executor."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr

from services.executor.nodes.context import CallTimes
from shared.settings import ServiceSettings

Seconds = Annotated[float, Field(gt=0)]


class ExecutorSettings(ServiceSettings):
    """From the environment; see docs/settings.md."""

    gemini_api_key: SecretStr = Field(validation_alias=AliasChoices("GEMINI_API_KEY", "gemini_api_key"))
    gemini_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("GEMINI_BASE_URL", "gemini_base_url")
    )
    slots: Annotated[int, Field(ge=1, le=1_000)] = 50
    """Executions at once."""
    ack_wait_seconds: Seconds = 30.0
    """As in the topology: a fifth of it is the time between two signs of progress."""
    max_attempts: Annotated[int, Field(ge=1)] = 10
    first_chunk_seconds: Seconds = 120.0
    between_chunks_seconds: Seconds = 60.0
    call_seconds: Seconds = 900.0
    merge_seconds: Seconds = 0.03
    shutdown_seconds: Seconds = 4.0

    @property
    def times(self) -> CallTimes:
        return CallTimes(
            first=self.first_chunk_seconds,
            between=self.between_chunks_seconds,
            whole=self.call_seconds,
            merge=self.merge_seconds,
        )
