"""Lines of old executions: what is wrong is named with its field, and an execution is imported whole or not at all."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.analytics.import_lines import Fault, Line, Names, entry_of, gather, read
from services.analytics.pricing import PriceList
from shared.ids import new_id
from shared.usage import Tier

NOW = datetime(2026, 11, 26, tzinfo=UTC)
USER = new_id()
GOOD: dict[str, Any] = {
    "execution_id": "run-1",
    "user": USER,
    "engine_id": "book",
    "engine_name": "A book",
    "model": "gemini-3.8-flash",
    "input": "100",
    "cached": "40",
    "output": 10,
    "outcome": "completed",
    "ended": "2025-10-01T12:34:56+02:00",
}


def line(number: int = 2, names: Names | None = None, **changed: Any) -> Line | Fault:
    return read(number, GOOD | changed, names or Names(), NOW)


def test_a_good_line_becomes_a_mark_and_a_fact() -> None:
    [group], faults = gather([line()])
    entry = entry_of(group, {"gemini-3.8-flash": Tier.INCLUDED}, PriceList([]))
    assert faults == []
    assert (entry.mark.user_id, entry.mark.outcome, entry.mark.kind) == (USER, "completed", "included")
    assert entry.mark.ended_at == datetime(2025, 10, 1, 10, 34, 56, tzinfo=UTC)
    [fact] = entry.facts
    assert (fact.input_tokens, fact.cached_tokens, fact.output_tokens, fact.calls) == (100, 40, 10, 1)


def test_an_id_that_is_no_uuid_gets_one_that_is_always_the_same() -> None:
    one, again, other = line(), line(), line(execution_id="run-2")
    assert isinstance(one, Line)
    assert isinstance(again, Line)
    assert isinstance(other, Line)
    assert one.execution_id == again.execution_id != other.execution_id
    known = new_id()
    kept = line(execution_id=known.upper())
    assert isinstance(kept, Line)
    assert kept.execution_id == known


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution_id", ""),
        ("user", "ada"),
        ("engine_id", ""),
        ("engine_name", "Unknown Engine"),
        ("engine_name", None),
        ("model", "Unknown"),
        ("model", ""),
        ("input", "-1"),
        ("output", "1.5"),
        ("output", True),
        ("thoughts", "1e3"),
        ("cached", "101"),
        ("tokens", [1]),
        ("outcome", "success"),
        ("ended", ""),
        ("ended", "2025-10-01T12:00:00"),
        ("ended", "01.10.2025"),
        ("ended", "2027-01-01T00:00:00Z"),
        ("ended", "1970-01-01T00:00:00Z"),
        ("started", "2025-10-01T13:00:00+02:00"),
        ("certainty", "perhaps"),
        ("engine_name", "nul \0"),
    ],
)
def test_what_is_wrong_is_named(field: str, value: Any) -> None:
    found = line(**{field: value})
    assert isinstance(found, Fault)
    assert (found.line, found.field) == (2, field)
    assert found.reason


def test_the_map_says_who_and_what_is_meant() -> None:
    names = Names(
        users={"ada": USER},
        engines={"Unknown Engine": ("article", "Article"), "b": ("book", None)},
        outcomes={"success": "completed"},
    )
    found = line(names=names, user="ada", engine_id="", engine_name="Unknown Engine", outcome="success")
    assert isinstance(found, Line)
    assert found.whose[:4] == (USER, "article", "Article", "completed")
    renamed = line(names=names, engine_id="b")
    assert isinstance(renamed, Line)
    assert renamed.whose[1:3] == ("book", "A book")


def test_without_tokens_an_execution_is_counted_and_has_no_fact() -> None:
    [group], _ = gather([line(input=0, cached=0, output=0, model="Unknown")])
    entry = entry_of(group, {}, PriceList([]))
    assert (entry.facts, entry.mark.kind, entry.mark.outcome) == ((), "none", "completed")


def test_models_of_one_execution_are_one_execution() -> None:
    groups, faults = gather([line(2), line(3, model="gemini-2.5-pro"), line(4, execution_id="run-2")])
    assert (len(groups), faults) == (2, [])
    facts = entry_of(groups[0], {}, PriceList([])).facts
    assert [fact.model for fact in facts] == ["gemini-2.5-pro", "gemini-3.8-flash"]


@pytest.mark.parametrize("second", [{"output": "x"}, {"outcome": "failed"}])
def test_an_execution_with_a_wrong_line_is_rejected_whole(second: dict[str, Any]) -> None:
    groups, faults = gather([line(2), line(3, **second), line(4, execution_id="run-2")])
    assert [group[0].old_id for group in groups] == ["run-2"]
    assert sorted(fault.line for fault in faults) == [2, 3]
