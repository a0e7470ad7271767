"""What is wrong with a definition or an input, said so that a person can put it right. Pure."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from shared.errors import Permanent

MAX_PROBLEMS = 100
"""As many as are looked for in one definition."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault. `field` is a path such as `nodes.outline.prompt`, `inputs.topic.default` or `input.topic`."""

    node: str | None
    """The id of the node that it is in, if it is in one and that has an id."""
    field: str
    detail: str


class InvalidDefinition(Permanent):
    """A definition can not be used. It has at least one problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.detail}" for problem in self.problems[:5]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: names the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(name[:200], sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def quoted(name: str) -> str:
    """A name that somebody gave, cut to a length that fits into a sentence."""
    return f"{name[:80]!r}" + ("..." if len(name) > 80 else "")
