"""What is wrong with a definition or an input, said so that a person can put it right. Pure."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.errors import Permanent

MAX_PROBLEMS = 100
"""As many as are looked for in one definition."""
MAX_SUGGESTIONS = 3
"""So many of the problems come with the nearest known name."""
MAX_NAMES = 50
"""With so many known names, nearest in length, one is compared; and not with longer ones than `MAX_COMPARED` characters."""
MAX_COMPARED = 64

_suggestions_left: ContextVar[int | None] = ContextVar("suggestions_left", default=None)


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
    left = _suggestions_left.get()
    if left == 0:
        return ""
    if left is not None:
        _suggestions_left.set(left - 1)
    given = name[:MAX_COMPARED]
    compared = sorted(
        (each for each in known if len(each) <= MAX_COMPARED),
        key=lambda each: (abs(len(each) - len(given)), each),
    )
    near = difflib.get_close_matches(given, compared[:MAX_NAMES], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


@contextmanager
def few_suggestions() -> Iterator[None]:
    """Within it only the first names are compared: to compare is what takes longest of all that is said here."""
    before = _suggestions_left.set(MAX_SUGGESTIONS)
    try:
        yield
    finally:
        _suggestions_left.reset(before)


def quoted(name: str) -> str:
    """A name that somebody gave, cut to a length that fits into a sentence."""
    return f"{name[:80]!r}" + ("..." if len(name) > 80 else "")
