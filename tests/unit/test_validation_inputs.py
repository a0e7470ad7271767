"""Given inputs are checked against their definitions, and defaults filled in."""

import math

import pytest

from shared.validation import check_input
from shared.workflow import Input

INPUTS = {
    "topic": Input(type="text", required=True, max_length=10),
    "notes": Input(type="long_text"),
    "count": Input(type="number", minimum=1, maximum=9),
    "words": Input(type="number", default=100),
    "tone": Input(type="choice", choices=("warm", "cold")),
    "tags": Input(type="list", max_length=2),
}


def faults(given: object) -> dict[str, str]:
    _, problems = check_input(INPUTS, given)
    assert all(p.node is None for p in problems)
    return {p.field: p.detail for p in problems}


def test_defaults_are_filled_in() -> None:
    values, problems = check_input(INPUTS, {"topic": "tea"})
    assert problems == []
    assert values == {"topic": "tea", "notes": "", "count": None, "words": 100, "tone": "", "tags": []}


def test_null_is_the_same_as_not_given() -> None:
    values, problems = check_input(INPUTS, {"topic": "tea", "words": None, "tags": None})
    assert (problems, values["words"], values["tags"]) == ([], 100, [])


def test_good_values_are_kept() -> None:
    given = {
        "topic": "tea",
        "notes": "n",
        "count": 2.5,
        "words": 7,
        "tone": "cold",
        "tags": ["a", {"b": [1, None]}],
    }
    assert check_input(INPUTS, given) == (given, [])


@pytest.mark.parametrize("given", [None, [], "topic", 3])
def test_only_an_object_is_taken(given: object) -> None:
    assert faults(given) == {"input": "must be an object"}


def test_required_inputs() -> None:
    assert faults({}) == {"input.topic": "is required"}
    assert faults({"topic": None}) == {"input.topic": "is required"}
    assert faults({"topic": "  "}) == {"input.topic": "must not be empty"}


def test_an_unknown_input_comes_with_a_suggestion() -> None:
    assert faults({"topic": "x", "tpoic": "y"}) == {
        "input.tpoic": "is not an input of this engine; did you mean topic?"
    }


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("topic", 5, "must be a text"),
        ("topic", ["x"], "must be a text"),
        ("topic", "x" * 11, "must have at most 10 characters"),
        ("count", "3", "must be a number"),
        ("count", True, "must be a number"),
        ("count", 0, "must be at least 1"),
        ("count", 10, "must be at most 9"),
        ("count", math.nan, "must be a finite number"),
        ("count", math.inf, "must be a finite number"),
        ("count", 10**400, "is a number too large to be stored"),
        ("tone", "wram", "can not be 'wram', only one of warm, cold; did you mean warm?"),
        ("tone", 1, "must be a text"),
        ("tags", "a", "must be a list"),
        ("tags", ["a", "b", "c"], "must have at most 2 entries"),
        ("notes", "a\0b", "holds a NUL character, which can not be stored"),
        ("notes", "\udc80", "holds half of a character (a lone surrogate)"),
    ],
)
def test_values_that_do_not_fit(name: str, value: object, detail: str) -> None:
    assert faults({"topic": "x", name: value}) == {f"input.{name}": detail}


def test_a_fault_deep_inside_a_list_is_named() -> None:
    assert faults({"topic": "x", "tags": [{"a": "\0"}]}) == {
        "input.tags.0.a": "holds a NUL character, which can not be stored"
    }
