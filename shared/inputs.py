"""Inputs: whether their definitions make sense, and whether given values fit them. Pure."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from shared import json_values
from shared.findings import MAX_PROBLEMS, Problem, did_you_mean, few_suggestions, quoted
from shared.workflow import Input

MAX_CHARACTERS = 1024 * 1024
"""Of all that is given to one execution."""

_ONLY_FOR = {
    "choices": ("choice",),
    "max_length": ("text", "long_text", "list"),
    "minimum": ("number",),
    "maximum": ("number",),
}


def definition_problems(inputs: Mapping[str, Input]) -> Iterator[Problem]:
    """Faults in how inputs are defined."""
    for name, spec in inputs.items():
        for field, detail in _spec_faults(spec):
            yield Problem(None, f"inputs.{name}.{field}", detail)


def _spec_faults(spec: Input) -> Iterator[tuple[str, str]]:
    for field, types in _ONLY_FOR.items():
        if getattr(spec, field) is not None and spec.type not in types:
            yield field, f"is only for {'the type' if len(types) == 1 else 'the types'} {', '.join(types)}"
    if spec.type == "choice" and not spec.choices:
        yield "choices", "is missing: say what can be chosen"
    if spec.choices is not None and len(set(spec.choices)) < len(spec.choices):
        yield "choices", "names something twice"
    if any(not choice.strip() for choice in spec.choices or ()):
        yield "choices", "names an empty text, which is the same as nothing chosen"
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        yield "minimum", "is more than the maximum"
    if spec.default is not None:
        yield from (("default", fault) for fault in _value_faults(spec, spec.default))


def check_input(inputs: Mapping[str, Input], given: object) -> tuple[dict[str, Any], list[Problem]]:
    """The value of every input, defaults filled in, and what is wrong with the given ones.

    An optional input that is neither given nor has a default is `""`, `[]`, or None for a number, so that templates
    can name it. The values are only of use when there is no problem.
    """
    if not isinstance(given, dict):
        return {}, [Problem(None, "input", "must be an object")]
    fault = json_values.fault(given, MAX_CHARACTERS)
    if fault is not None:
        path, detail = fault
        return {}, [Problem(None, f"input.{path}" if path else "input", detail)]
    values: dict[str, Any] = {}
    with few_suggestions():
        problems = list(itertools.islice(_unknown(inputs, given), MAX_PROBLEMS))
        for name, spec in inputs.items():
            values[name], faults = _value(spec, given.get(name))
            problems += [Problem(None, f"input.{name}", detail) for detail in faults]
    return values, problems[:MAX_PROBLEMS]


def _unknown(inputs: Mapping[str, Input], given: Mapping[str, Any]) -> Iterator[Problem]:
    for name in given:
        if name not in inputs:
            detail = f"is not an input of this engine{did_you_mean(name, inputs)}"
            yield Problem(None, f"input.{name}", detail)


def _value(spec: Input, given: Any) -> tuple[Any, list[str]]:
    if given is None and spec.default is not None:
        return spec.default, []
    if spec.required and _is_blank(given):
        return given, ["is required" if given is None else "must not be empty"]
    if given is None:
        return _nothing(spec), []
    return given, list(_value_faults(spec, given))


def _is_blank(given: object) -> bool:
    return given is None or given == [] or (isinstance(given, str) and not given.strip())


def _nothing(spec: Input) -> object:
    match spec.type:
        case "number":
            return None
        case "list":
            return []
        case "text" | "long_text" | "choice":
            return ""
        case _:
            assert_never(spec.type)


def _value_faults(spec: Input, value: object) -> Iterator[str]:
    match spec.type:
        case "text" | "long_text":
            yield from _text_faults(spec, value)
        case "number":
            yield from _number_faults(spec, value)
        case "choice":
            choices = spec.choices or ()
            if not isinstance(value, str):
                yield "must be a text"
            elif value not in choices:
                yield f"can not be {quoted(value)}, only one of {', '.join(choices)}{did_you_mean(value, choices)}"
        case "list":
            if not isinstance(value, list):
                yield "must be a list"
            elif spec.max_length is not None and len(value) > spec.max_length:
                yield f"must have at most {spec.max_length:,} entries"
        case _:
            assert_never(spec.type)


def _text_faults(spec: Input, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield "must be a text"
    elif spec.max_length is not None and len(value) > spec.max_length:
        yield f"must have at most {spec.max_length:,} characters"


def _number_faults(spec: Input, value: object) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield "must be a number"
    elif spec.minimum is not None and value < spec.minimum:
        yield f"must be at least {spec.minimum:g}"
    elif spec.maximum is not None and value > spec.maximum:
        yield f"must be at most {spec.maximum:g}"
