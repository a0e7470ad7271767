"""Settings of the janitor."""

from datetime import timedelta
from typing import Annotated

from pydantic import AliasChoices, Field, PositiveInt, SecretStr

from services.janitor.policy import Limits
from shared.settings import ServiceSettings


class JanitorSettings(ServiceSettings):
    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Log in as lekhika_janitor, or as a role with its rights."""
    retention_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long an ended execution is kept, from its end; the gateway has the same setting."""
    janitor_interval_seconds: Annotated[float, Field(gt=0)] = 10.0
    """From the start of one round to the start of the next."""
    prune_per_second: PositiveInt = 300
    """At most so many executions are deleted in a second, so that appends never wait for it."""

    def limits(self) -> Limits:
        return Limits(retention=timedelta(hours=self.retention_hours))

    def prunes_per_round(self) -> int:
        return max(1, int(self.prune_per_second * self.janitor_interval_seconds))
