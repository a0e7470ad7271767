"""Settings of the gateway."""

import re
from typing import Annotated

from pydantic import AliasChoices, Field, PositiveInt, SecretStr, field_validator

from shared.settings import ServiceSettings
from shared.workflow import Limits

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")


class GatewaySettings(ServiceSettings):
    """Times in seconds unless the name says otherwise."""

    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Log in as lekhika_gateway, or as a role with its rights."""
    database_pool: PositiveInt = 8
    """Connections to Postgres."""
    provider: str = "gemini"
    """Shown on every page: `gemini`, or `stand-in` for the local one."""
    retention_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long an ended execution is kept; the janitor has the same setting."""
    now_per_user: PositiveInt = 8
    """A user's first so many outstanding executions go to the lane `now`, what exceeds them to `later`."""
    max_body_bytes: PositiveInt = 1024 * 1024
    """A larger request is refused with 413."""
    limit_seconds: PositiveInt = 6 * 3600
    """The most that `limits.seconds` of one execution may be."""
    limit_tokens: PositiveInt = 20_000_000
    """The most that `limits.tokens` of one execution may be."""
    limit_output_bytes: PositiveInt = 64_000_000
    """The most that `limits.output_bytes` of one execution may be."""
    limit_nodes: PositiveInt = 10_000
    """The most that `limits.nodes` of one execution may be."""
    force_after_seconds: Annotated[float, Field(ge=0)] = 10.0
    """How long after the first stop its owner may force it; a superadmin need not wait."""
    cors_origins: str = ""
    """Origins of other web applications that may call, with cookies and keys, separated by commas, such as `https://app.example.com`."""
    cors_seconds: Annotated[int, Field(ge=0, le=86_400)] = 7200
    """How long a browser may remember that an origin may call."""
    https_only: bool = False
    """People reach the gateway by TLS alone: browsers are told never to try without. Else they are told so in answers to requests whose `X-Forwarded-Proto` is https, from a proxy that `FORWARDED_ALLOW_IPS` names (127.0.0.1 unless set)."""
    stream_send_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long a viewer of a live view may read nothing before it is cut."""
    shutdown_seconds: PositiveInt = 5
    """How long open requests may take to end when the process is asked to."""

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, given: str) -> str:
        for origin in _listed(given):
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError(
                    "must list origins such as https://app.example.com, without a path; * is not allowed"
                )
        return given

    def largest_limits(self) -> Limits:
        return Limits(
            seconds=self.limit_seconds,
            tokens=self.limit_tokens,
            output_bytes=self.limit_output_bytes,
            nodes=self.limit_nodes,
        )

    def allowed_origins(self) -> list[str]:
        return _listed(self.cors_origins)


def _listed(origins: str) -> list[str]:
    return [origin.strip().rstrip("/").lower() for origin in origins.split(",") if origin.strip()]
