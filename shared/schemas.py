"""Whether the schema of a structured output can be used, and whether an answer follows it. Pure.

Nothing is ever fetched: every reference leads into the schema itself.
"""

import graphlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from shared.meta_schema import schema_error

MAX_REFERENCES = 500
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OTHER_BASES = frozenset(
    {"$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef", "$recursiveAnchor"}
)
"""With them a reference would not lead where it seems to lead."""
_NOTHING_ELSE: Registry[Any] = Registry()
"""Without it references to other documents would be fetched."""
_SAME_VALUE = ("not", "if", "then", "else")
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")


def schema_faults(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults of a JSON Schema (2020-12) as path, empty for the whole, and sentence.

    A `$ref` must lead to a place in the schema itself.
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
    for path, sentence in _keywords("", schema):
        yield path, sentence
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


def answer_fault(text: str, schema: Mapping[str, Any]) -> str | None:
    """Why a text is no JSON that follows the schema; None when it is.

    How long it takes is up to whoever wrote the schema: for patterns, and for schemas that lead back to themselves, longer
    than anybody can wait.
    """
    validator = Draft202012Validator(schema, registry=_NOTHING_ELSE)
    try:
        error = best_match(validator.iter_errors(json.loads(text)))
    except (ValueError, RecursionError, Unresolvable) as fault:
        return str(fault)
    return None if error is None else str(error.message)


def _keywords(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Path and sentence of every keyword that is not for us."""
    if isinstance(value, dict):
        for key, inner in value.items():
            inner_path = f"{path}.{key}" if path else key
            if key in _OTHER_BASES and not isinstance(inner, dict):
                yield (
                    inner_path,
                    f"{key} is not possible here: refer with $ref to a place in this schema, as in #/$defs/name",
                )
            elif key == "$schema" and isinstance(inner, str) and inner.rstrip("#") != DIALECT:
                yield inner_path, f"must be {DIALECT}, or left out"
            yield from _keywords(inner_path, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keywords(f"{path}.{index}", inner)


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
