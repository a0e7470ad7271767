"""Turns `--input key=value` words into the inputs of an engine. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class WrongInput(ValueError):
    """A word that is not key=value."""


def inputs_from(words: Iterable[str], declared: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Values by name, typed as the engine declares them.

    A list is given by repeating its key. What does not fit its type stays text: the gateway says what is wrong.
    """
    given: dict[str, list[str]] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise WrongInput(f"'{word}' is not of the form key=value")
        given.setdefault(name, []).append(value)
    return {name: _typed(values, str(declared.get(name, {}).get("type"))) for name, values in given.items()}


def missing(given: Iterable[str], declared: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Inputs that must be given and are not: the name, and the question to ask."""
    for name, spec in declared.items():
        if not spec.get("required") or spec.get("default") is not None or name in given:
            continue
        choices = spec.get("choices")
        one_of = f" ({', '.join(choices)})" if choices else ""
        entries = " (an empty line ends the list)" if spec.get("type") == "list" else ""
        yield name, f"{spec.get('title') or name}{one_of}{entries}"


def _typed(values: list[str], kind: str) -> Any:
    if kind == "list":
        return values
    return _number(values[-1]) if kind == "number" else values[-1]


def _number(text: str) -> int | float | str:
    for convert in (int, float):
        try:
            number = convert(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text
