"""Makes the end of a service's log readable: JSON lines become a line with level and message."""

from __future__ import annotations

import json
from collections.abc import Iterable


def readable(lines: Iterable[str], last: int = 20) -> str:
    """The last lines of the text; what was no JSON object is left as it is. A traceback keeps its own lines."""
    unfolded = [part for line in lines for part in _unfold(line)]
    return "\n".join(unfolded[-last:])


def _unfold(line: str) -> list[str]:
    try:
        content = json.loads(line)
    except ValueError:
        return [line]
    if not isinstance(content, dict) or "message" not in content:
        return [line]
    head = f"{content.get('level', '')}: {content['message']}"
    return [head, *str(content.get("exception") or "").splitlines()]
