"""Settings of the gateway."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AliasChoices,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from services.gateway.addresses import Network, networks
from shared.settings import ServiceSettings
from shared.workflow import Limits

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")
ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Whoever can check a signature of one of these can not make one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """What is known of the one identity provider."""

    issuer: str
    audience: str
    jwks_url: str
    """Empty: found by discovery."""
    algorithms: frozenset[str]
    leeway_seconds: float
    email_claim: str
    name_claim: str
    refetch_seconds: float
    keys_seconds: float


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
    https: bool = False
    """Browsers reach the gateway by HTTPS alone, through a proxy: the console's cookies are for HTTPS only, and browsers are told never to try without."""
    session_idle_seconds: Annotated[int, Field(ge=300)] = 12 * 3600
    """A session of the console ends when it was not used for so long. At least 300: uses are noted once a minute."""
    session_seconds: PositiveInt = 14 * 24 * 3600
    """A session ends so long after its log-in, however much it is used."""
    login_attempts_per_email: PositiveInt = 10
    """Failed log-ins with one email address within `login_window_seconds`, and ten times as many in all; then 429. For each gateway."""
    login_attempts_per_address: PositiveInt = 60
    """Failed log-ins from one network address within `login_window_seconds`; then 429. For each gateway."""
    login_window_seconds: PositiveInt = 300
    """The window slides."""
    requests_per_second: Annotated[float, Field(ge=0)] = 1000.0
    """Of one key, session or token, at each gateway; beyond, 429. Stops do not count and are never refused. 0: no limit."""
    requests_burst: PositiveInt = 2000
    """So many requests may come at once before `requests_per_second` counts."""
    unknown_keys_per_second: Annotated[float, Field(ge=0)] = 20.0
    """Keys and sessions from one network address that turn out to be nobody's, at each gateway; beyond, 429 for what it does not remember. 0: no limit."""
    unknown_keys_burst: PositiveInt = 2000
    """So many may come at once before `unknown_keys_per_second` counts."""
    trusted_proxies: str = ""
    """Addresses and networks of proxies, separated by commas, whose X-Forwarded-For is believed."""
    token_issuer: str = ""
    """Of the identity provider whose tokens (JWT) are taken, as in their `iss`. Empty: none are."""
    token_audience: Annotated[str, Field(validate_default=True)] = ""
    """What `aud` of a token must hold. Must be set with an issuer."""
    token_jwks_url: str = ""
    """Where the provider's public keys are. Empty: found by OpenID Connect Discovery."""
    token_algorithms: str = "RS256,ES256,EdDSA"  # noqa: S105 - no secret
    """Algorithms of signatures that are taken, separated by commas; asymmetric ones only."""
    token_leeway_seconds: Annotated[float, Field(ge=0, le=600)] = 30.0
    """How far the provider's clock may be from this machine's."""
    token_email_claim: str = "email"  # noqa: S105 - no secret
    """The claim with the email address."""
    token_name_claim: str = "name"  # noqa: S105 - no secret
    """The claim with the name that is shown."""
    token_refetch_seconds: PositiveFloat = 10.0
    """The provider is asked for its keys at most that often, however many tokens name an unknown key."""
    token_keys_seconds: PositiveFloat = 600.0
    """Keys that are older are asked for anew, in the background; one that the provider has dropped ends so."""
    cors_origins: str = ""
    """Origins of other web applications that may call, with keys and tokens, and with cookies where they are of the same site, separated by commas, such as `https://app.example.com`."""
    cors_seconds: Annotated[int, Field(ge=0, le=86_400)] = 7200
    """How long a browser may remember that an origin may call."""
    stream_send_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long a viewer of a live view may read nothing before it is cut."""
    shutdown_seconds: PositiveInt = 5
    """How long open requests may take to end when the process is asked to."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, given: str) -> str:
        for origin in _origins(given):
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
        return _origins(self.cors_origins)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value)
        return value

    @field_validator("token_audience")
    @classmethod
    def _goes_with_an_issuer(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("token_issuer") and not value:
            raise ValueError("must be set when LEKHIKA_TOKEN_ISSUER is")
        return value

    @field_validator("token_algorithms")
    @classmethod
    def _are_asymmetric(cls, value: str) -> str:
        wrong = _listed(value) - ASYMMETRIC
        if wrong or not _listed(value):
            raise ValueError(f"may name {', '.join(sorted(ASYMMETRIC))}")
        return value

    def proxies(self) -> tuple[Network, ...]:
        return networks(self.trusted_proxies)

    def tokens(self) -> TokenSettings | None:
        """None when no tokens are taken."""
        if not self.token_issuer:
            return None
        return TokenSettings(
            issuer=self.token_issuer,
            audience=self.token_audience,
            jwks_url=self.token_jwks_url,
            algorithms=_listed(self.token_algorithms),
            leeway_seconds=self.token_leeway_seconds,
            email_claim=self.token_email_claim,
            name_claim=self.token_name_claim,
            refetch_seconds=self.token_refetch_seconds,
            keys_seconds=self.token_keys_seconds,
        )


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _origins(origins: str) -> list[str]:
    return [origin.strip().rstrip("/").lower() for origin in origins.split(",") if origin.strip()]
