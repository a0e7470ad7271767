"""What may be said about a person: the rules of the gateway's calls and of the operator's commands."""

from enum import StrEnum
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError

SHORTEST, LONGEST = 12, 256

Email = Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^\x00\s@]+@[^\x00\s@]+$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


def _check(password: SecretStr, shortest: int) -> SecretStr:
    """Pydantic's own message would speak of items."""
    if not shortest <= len(password) <= LONGEST:
        bounds = {"shortest": shortest, "longest": LONGEST}
        raise PydanticCustomError("length", "must have {shortest} to {longest} characters", bounds)
    return password


def _schema(shortest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "format": "password", "minLength": shortest, "maxLength": LONGEST}
    )


Password = Annotated[SecretStr, AfterValidator(partial(_check, shortest=SHORTEST)), _schema(SHORTEST)]
GivenPassword = Annotated[SecretStr, AfterValidator(partial(_check, shortest=1)), _schema(1)]
"""As somebody types it to log in; the rule for new ones may have been another once."""


class PersonRole(StrEnum):
    USER = "user"
    SUPERADMIN = "superadmin"
