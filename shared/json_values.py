"""Whether a value is JSON that can be stored everywhere: in the log, in Postgres, in a browser. Pure."""

import math
from collections.abc import Iterator

MAX_DEPTH = 64
_LARGEST = 2**63 - 1
_PATH = 200
"""Characters of a path. All places wait at once: under a name of 100 kB each would hold it anew."""


def fault(value: object, max_characters: int) -> tuple[str, str] | None:
    """The first fault as path and sentence; None when there is none.

    Also ends on values that contain themselves, or that repeat parts by reference, as YAML can write them: no more
    than `max_characters` (about the length as JSON) is looked at.
    """
    size = 0
    waiting: list[tuple[str, object, int]] = [("", value, 1)]
    while waiting:
        path, item, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return path, f"is nested more than {MAX_DEPTH} deep"
        wrong = _leaf_fault(item)
        if wrong is not None:
            return path, wrong
        size += 1 + (len(item) if isinstance(item, str) else 0)
        if isinstance(item, dict):
            for key in item:
                wrong = _leaf_fault(key) if isinstance(key, str) else "has a key that is not a text"
                if wrong is not None:
                    return path, wrong
                size += len(key)
        if isinstance(item, dict | list):
            size += 2 * len(item)
        if size > max_characters:
            return "", f"is larger than {max_characters:,} characters"
        waiting.extend((inner_path, inner, depth + 1) for inner_path, inner in inside(path, item))
    return None


def inside(path: str, item: object) -> Iterator[tuple[str, object]]:
    """Members and elements of the item at `path`, each with its own path."""
    dot = "." if path else ""
    if isinstance(item, dict):
        for key, inner in item.items():
            yield f"{path}{dot}{key}"[:_PATH], inner
    elif isinstance(item, list):
        for index, inner in enumerate(item):
            yield f"{path}{dot}{index}"[:_PATH], inner


def _leaf_fault(item: object) -> str | None:
    match item:
        case None | bool() | dict() | list():
            return None
        case int() if abs(item) > _LARGEST:
            return "is a number too large to be stored"
        case float() if not math.isfinite(item):
            return "must be a finite number"
        case int() | float():
            return None
        case str() if "\0" in item:
            return "holds a NUL character, which can not be stored"
        case str() if not item.isascii() and not _is_unicode(item):
            return "holds half of a character (a lone surrogate)"
        case str():
            return None
        case _:
            return f"is a {type(item).__name__}, which JSON does not have"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
