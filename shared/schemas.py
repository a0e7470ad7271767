"""Whether the schema of a structured output can be used. Pure."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError


def schema_faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults of a JSON Schema (2020-12) as path, empty for the whole, and sentence.

    A `$ref` must lead to a place in the schema itself: nothing is ever fetched.
    """
    try:
        Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    except SchemaError as error:
        yield (
            ".".join(str(part) for part in error.absolute_path),
            f"is not a valid JSON Schema: {error.message[:300]}",
        )
        return
    except RecursionError:
        yield "", "is nested too deeply"
        return
    for path, reference in _references("", schema):
        if not _leads_somewhere(schema, reference):
            yield path, f"leads to {reference[:80]!r}, which is not in this schema"


def _references(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else key
            if key in ("$ref", "$dynamicRef") and isinstance(inner, str):
                yield inner_path, inner
            else:
                yield from _references(inner_path, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(f"{path}.{index}", inner)


def _leads_somewhere(schema: object, reference: str) -> bool:
    if reference != "#" and not reference.startswith("#/"):
        return False
    place = schema
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict) and name in place:
            place = place[name]
        elif isinstance(place, list) and name.isdecimal() and int(name[:6]) < len(place):
            place = place[int(name[:6])]
        else:
            return False
    return isinstance(place, dict | bool)
