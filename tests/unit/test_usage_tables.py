"""Tables of usage on the terminal."""

from typing import Any

import pytest

from deploy.local.commands_fleet import print_insights, print_usage

TOKENS = dict.fromkeys(("input", "cached", "output", "thoughts", "tool", "total"), 5)
ENGINES = [("book", "Book"), ("book-2", "Book"), ("reply", "Reply"), ("book", "Book")]
"""An engine has a row in each bucket."""


@pytest.mark.parametrize("of", ["usage", "insights"])
def test_engines_of_the_same_name_are_told_apart_by_their_ids(
    capsys: pytest.CaptureFixture[str], of: str
) -> None:
    zone = {"timezone": "UTC", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    if of == "usage":
        items: list[dict[str, Any]] = [
            {"bucket": zone["from"], "engine_id": key, "engine_name": name, "tokens": TOKENS}
            for key, name in ENGINES
        ]
        print_usage({**zone, "items": items, "totals": TOKENS}, "engine", "day")
    else:
        runs = dict.fromkeys(("runs", "completed", "stopped", "failed", "success_rate", "mean_tokens"), 1)
        items = [
            {"engine": {"id": key, "name": name}, **runs, "mean_duration_seconds": 1} for key, name in ENGINES
        ]
        print_insights({**zone, "items": items})
    told = capsys.readouterr().out
    for label in ("Book (book) ", "Book (book-2) ", "Reply "):
        assert label in told
    assert "Reply (" not in told
