"""Whether the schema of a structured output can be used. Pure."""

import graphlib
import itertools
from collections.abc import Iterator
from typing import Any

from shared.meta_schema import schema_error

MAX_REFERENCES = 500
_SAME_VALUE = ("not", "if", "then", "else")
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")


def schema_faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults of a JSON Schema (2020-12) as path, empty for the whole, and sentence.

    A `$ref` must lead to a place in the schema itself: nothing is ever fetched.
    """
    try:
        error = schema_error(schema)
    except RecursionError:
        yield "", "is nested too deeply"
        return
    if error is not None:
        path = ".".join(str(part) for part in error.absolute_path)
        yield path, f"is not a valid JSON Schema: {error.message[:300]}"
        return
    references = list(itertools.islice(_references("", schema), MAX_REFERENCES + 1))
    if len(references) > MAX_REFERENCES:
        yield "", f"has more than {MAX_REFERENCES} references"
        return
    circle = _circle(schema, [holder for _, holder, _ in references])
    for path, holder, reference in references:
        if _target(schema, reference) is None:
            yield path, f"leads to {reference[:80]!r}, which is not in this schema"
        elif id(holder) in circle:
            yield path, "leads back to itself, so that checking would never end"


def _references(path: str, value: object) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Path, object that it stands in, and text of every reference."""
    if isinstance(value, dict):
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else key
            if key in ("$ref", "$dynamicRef") and isinstance(inner, str):
                yield inner_path, value, inner
            else:
                yield from _references(inner_path, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _references(f"{path}.{index}", inner)


def _target(schema: object, reference: str) -> object:
    """The schema that a reference leads to; None when there is none."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    place = schema
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict):
            place = place.get(name)
        elif isinstance(place, list) and name.isdecimal() and int(name[:6]) < len(place):
            place = place[int(name[:6])]
        else:
            return None
    return place if isinstance(place, dict | bool) else None


def _circle(schema: object, holders: list[dict[str, Any]]) -> frozenset[int]:
    """Schemas, by `id`, that are applied to the very value that they are being applied to: one circle, if there is any.

    Each schema is visited once, however many references lead to it.
    """
    graph: dict[int, list[int]] = {}
    waiting = list(holders)
    while waiting:
        here = waiting.pop()
        if id(here) not in graph:
            applied = [each for each in _applied_to_same_value(schema, here) if isinstance(each, dict)]
            graph[id(here)] = [id(each) for each in applied]
            waiting.extend(applied)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return frozenset(error.args[1])
    return frozenset()


def _applied_to_same_value(schema: object, here: dict[str, Any]) -> Iterator[object]:
    for key in ("$ref", "$dynamicRef"):
        if isinstance(here.get(key), str):
            yield _target(schema, here[key])
    for key in _SAME_VALUE:
        yield here.get(key)
    for key in _SAME_VALUE_LISTS:
        yield from here.get(key) or ()
    yield from (here.get("dependentSchemas") or {}).values()
