"""What others say of their heartbeats counts only as two entries that follow one another."""

from datetime import timedelta

import pytest

from services.executor.evidence import attested
from shared.heartbeat import Seen
from tests.support.make import START


def entry(second: float, unbroken: float | None) -> Seen:
    return Seen(worker={"unbroken_seconds": unbroken}, time=START + timedelta(seconds=second))


def test_two_entries_one_after_the_other_speak_of_the_run_up_to_the_second() -> None:
    assert attested({"a": entry(0, 9.0)}, {"a": entry(1, 10.0)}) == 10.0


def test_the_longest_run_of_several_counts() -> None:
    before = {"a": entry(0, 2.0), "b": entry(0, 20.0)}
    assert attested(before, {"a": entry(1, 3.0), "b": entry(1, 21.0)}) == 21.0


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"a": entry(1, 60.0)}),
        ({"a": entry(1, 60.0)}, {"a": entry(1, 60.0)}),
        ({"a": entry(0, 60.0)}, {"a": entry(13, 61.0)}),
        ({"a": entry(0, 60.0)}, {"a": entry(1, None)}),
        ({"a": entry(0, None)}, {"a": entry(1, 61.0)}),
        ({"a": entry(0, 60.0)}, {}),
        ({"a": entry(0, 60.0)}, {"b": entry(1, 60.0)}),
    ],
    ids=["seen once", "no new one", "sent late, out of a buffer", "broken since", "broken before", "gone", "others"],
)  # fmt: skip
def test_an_entry_that_an_outage_may_have_delayed_proves_nothing(
    before: dict[str, Seen], now: dict[str, Seen]
) -> None:
    assert attested(before, now) is None
