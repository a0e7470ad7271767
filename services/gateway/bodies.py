"""Request bodies: JSON objects of bounded size and depth, and what is wrong with them, field by field."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from services.gateway.problems import FieldError, Problem, invalid
from shared.field_words import told
from shared.json_values import inside

MAX_DEPTH = 32
"""Levels of lists and objects within each other."""

MAX_VALUES = 100_000
"""Members and elements in all, at any level."""

M = TypeVar("M", bound=BaseModel)


async def read_object(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The JSON object in the body; `{}` for an empty body if it is optional. `BodyLimit` bounds its size.

    Raises: Problem 400, when it is not JSON; 422, when it is not an object, nested too deep, of too many values, or holds NUL characters.
    """
    data = await request.body()
    if optional and not data.strip():
        return {}
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Problem(
            400, "invalid_json", "The body is not JSON", f"The body can not be read: {error}"
        ) from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.", [FieldError("body", "must be an object")])
    for field, detail in _faults(value):
        raise invalid("The body holds a value that can not be taken.", [FieldError(field, detail)])
    return value


def _faults(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the value is too deep, too many, or has a NUL character, which Postgres can not store. Without recursion."""
    waiting: list[tuple[str, object, int]] = [("", value, 0)]
    count = 0
    while waiting:
        path, here, depth = waiting.pop()
        count += len(here) if isinstance(here, dict | list) else 0
        if count > MAX_VALUES:
            yield path or "body", f"holds more than {MAX_VALUES:,} values in all"
            return
        if depth > MAX_DEPTH:
            yield path, f"is nested deeper than {MAX_DEPTH} levels"
            return
        if isinstance(here, str):
            if "\0" in here:
                yield path or "body", "must not hold NUL characters"
        elif isinstance(here, dict) and any("\0" in key for key in here):
            yield path or "body", "must not hold NUL characters in names"
            return
        waiting.extend((inner_path, inner, depth + 1) for inner_path, inner in inside(path, here))


def parsed(model: type[M], value: dict[str, Any], prefix: str = "") -> M:
    """Raises: Problem 422 that names each wrong field, with `prefix` before it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = field_errors(error, prefix)
        raise invalid(f"{faults[0].field}: {faults[0].detail}", faults) from None


def field_errors(error: ValidationError, prefix: str = "") -> Sequence[FieldError]:
    return [
        FieldError(prefix + ".".join(str(part) for part in fault["loc"]), told(fault))
        for fault in error.errors(include_input=False, include_url=False)
    ]
