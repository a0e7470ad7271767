"""Items of usage that are kept as they were written: the same as fresh ones, and bounded."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.gateway import usage, usage_queries
from services.gateway.problems import Problem
from services.gateway.usage_periods import Bucket
from services.gateway.usage_queries import Found, GroupBy, Sums, Used
from services.gateway.usage_rows import figures
from shared.usage_sums import SUMS

SUMS_OF_ONE = [100, 30, 20, 5, 0, 125, 0, 1, 2, 0, 1]
KEYS = {None: [], GroupBy.ENGINE: ["e", "An engine, ü"], GroupBy.MODEL: ["m"], GroupBy.KIND: ["payg"]}


def told(group_by: GroupBy | None, groups: int = 2, east: int = 20_700) -> Used:
    lists = orjson.dumps([[*KEYS[group_by], *SUMS_OF_ONE]] * groups).decode()
    return Used("2026-11-27T00:00:00", east, orjson.dumps(SUMS_OF_ONE).decode(), lists)


def found(*used: Used) -> Found:
    now = datetime.now(UTC)
    return Found(start=now, end=now, used=used, totals=Sums._make(SUMS_OF_ONE))


def written(group_by: GroupBy | None, *used: Used, bucket: Bucket = Bucket.DAY) -> Any:
    return orjson.loads(orjson.dumps(usage._list(found(*used), bucket, group_by)))


@pytest.mark.parametrize("group_by", KEYS)
@pytest.mark.parametrize("groups", [0, 2, 500], ids=["none", "few", "many"])
@pytest.mark.parametrize("bucket", Bucket)
def test_what_is_written_again_is_what_was_written_first(
    group_by: GroupBy | None, groups: int, bucket: Bucket
) -> None:
    right = usage._items(told(group_by, groups), group_by)
    assert len(right) == groups
    for _ in range(2):
        again = told(group_by, groups)
        assert written(group_by, again, told(group_by, 0), again, bucket=bucket) == right * 2


def test_the_same_sums_in_another_zone_or_grouping_are_other_items() -> None:
    items = {
        str(written(group_by, told(GroupBy.MODEL, east=east)))
        for east in (0, 20_700)
        for group_by in (GroupBy.MODEL, GroupBy.KIND)
    }
    assert len(items) == 4


def test_long_lists_and_hours_are_not_kept() -> None:
    before = usage._remembered.cache_info()
    written(GroupBy.ENGINE, told(GroupBy.ENGINE, 500))
    written(GroupBy.ENGINE, told(GroupBy.ENGINE, 1), bucket=Bucket.HOUR)
    assert usage._remembered.cache_info() == before


@pytest.mark.parametrize(
    "answer", [lambda *of: usage._list(of[0], Bucket.DAY, of[1]), usage._csv], ids=["json", "csv"]
)
def test_more_items_than_an_answer_has_are_refused_before_all_are_made(
    answer: Callable[[Found, GroupBy | None], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_queries, "MOST_ITEMS", 4)
    few, many = told(GroupBy.MODEL, 2), told(GroupBy.MODEL, 3)
    unreadable = Used("", 0, "", "no JSON")
    answer(found(few, few), GroupBy.MODEL)
    with pytest.raises(Problem, match="too many buckets"):
        answer(found(few, many, unreadable), GroupBy.MODEL)


def test_figures_have_their_places() -> None:
    assert Sums._fields == SUMS
    numbers = figures(*range(1, len(SUMS) + 1))
    tokens, ends = numbers["tokens"], numbers["executions"]
    named = {**{f"{kind}_tokens": count for kind, count in tokens.items()}, **ends}
    assert [named[name] for name in SUMS if not name.endswith("_calls")] == [1, 2, 3, 4, 5, 6, 9, 10, 11]
    assert tokens["certainty"] == "unknown"
    assert figures(1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0)["tokens"]["certainty"] == "estimated"
