"""Settings of the executor."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr

from services.executor.models.quota import Limit
from services.executor.nodes.context import CallTimes
from services.executor.retry import BUDGET
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
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_API_KEY", "openai_api_key")
    )
    """Key for the OpenAI-compatible endpoint, for models whose names begin with `openai/`. Many endpoints need none."""
    openai_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("OPENAI_BASE_URL", "openai_base_url")
    )
    """Its address up to `/v1`, such as that of Ollama or vLLM; with a key alone it is OpenAI itself."""
    model_limits: dict[str, Limit] | None = None
    """Limits per minute that all executors keep together, by model, as JSON such as `{"gemini-3.8-flash": {"requests_per_minute": 1000, "tokens_per_minute": 4000000}}`. A model that is not named has none."""
    retry_budget: Annotated[int, Field(ge=0)] = BUDGET
    """How many failed model calls an execution may repeat in all while one executor runs it; whoever takes it over begins anew. Refusals that cost nothing (429, 502, 503) are not counted: they are repeated while it has time."""
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
