"""Settings that every service has, and the one way to read them from the environment."""

import sys
from typing import Annotated, Literal, NoReturn, TypeVar

from pydantic import AliasChoices, Field, FilePath, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.ids import new_id

USAGE_EXIT = 2


class ServiceSettings(BaseSettings):
    """Base of a service's settings; a field `x` is read from LEKHIKA_X unless it names its variable.

    `instance` is new at every process start and can not be set: whoever owns an execution must be told apart from
    the process that had the same place before.
    """

    model_config = SettingsConfigDict(
        env_prefix="LEKHIKA_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    nats_url: SecretStr = Field(min_length=1, validation_alias=AliasChoices("NATS_URL", "nats_url"))
    """Such as `nats://executor:password@host:4222`, hence secret; the user is the service's own. Several servers are separated by commas. With `tls://` the connection begins with TLS, for which servers need `handshake_first`."""
    nats_ca_file: FilePath | None = None
    """With `tls://`: PEM file of the authority that signed the servers' certificates. Without it the system's authorities count."""
    http_host: str = "127.0.0.1"
    """Where the health answers (and the gateway's HTTP) are served."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """0 takes a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below it are not written."""
    _instance: str = PrivateAttr(default_factory=new_id)

    @property
    def instance(self) -> str:
        """Id of this process: UUIDv7."""
        return self._instance


S = TypeVar("S", bound=BaseSettings)


def load(settings_class: type[S]) -> S:
    """The settings from the environment. Exits with code 2 and a line per variable that is missing or wrong."""
    try:
        return settings_class()
    except ValidationError as error:
        _refuse(settings_class, error)


def _refuse(settings_class: type[BaseSettings], error: ValidationError) -> NoReturn:
    # The given value is left out: it may be a secret.
    for problem in error.errors(include_input=False, include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        reason = "is not set, and must be" if problem["type"] == "missing" else problem["msg"]
        sys.stderr.write(f"settings: {variable(settings_class, field)}: {reason}\n")
    raise SystemExit(USAGE_EXIT)


def variable(settings_class: type[BaseSettings], field: str) -> str:
    """The environment variable that a field, named as pydantic names it in errors, is read from."""
    info = settings_class.model_fields.get(field)
    if info is None:  # pydantic already gives the alias
        return field
    alias = info.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    if isinstance(alias, str):
        return alias
    return f"{settings_class.model_config.get('env_prefix', '')}{field}".upper()
