"""Settings of the analytics service."""

from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr

from shared.settings import ServiceSettings


class AnalyticsSettings(ServiceSettings):
    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Log in as lekhika_analytics, or as a role with its rights."""
    analytics_batch: Annotated[int, Field(ge=1, le=5000)] = 2000
    """Events that are counted in one transaction at most."""
    analytics_wait_seconds: Annotated[float, Field(gt=0, le=5)] = 0.2
    """How long a batch is collected; the rollups are about that much behind."""
