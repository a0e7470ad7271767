"""Items of usage that are kept as they were written: the same as fresh ones, and bounded."""

import orjson
import pytest

from services.gateway import usage
from services.gateway.usage_queries import GroupBy, Used

SUMS = [100, 30, 20, 5, 0, 125, 0, 1, 2, 0, 1]
KEYS = {None: [], GroupBy.ENGINE: ["e", "An engine, ü"], GroupBy.MODEL: ["m"], GroupBy.KIND: ["payg"]}


def told(group_by: GroupBy | None, groups: int = 2, east: int = 20_700) -> Used:
    lists = orjson.dumps([[*KEYS[group_by], *SUMS]] * groups).decode()
    return Used("2026-11-27T00:00:00", east, orjson.dumps(SUMS).decode(), lists)


@pytest.mark.parametrize("group_by", KEYS)
@pytest.mark.parametrize("groups", [0, 2, 500], ids=["none", "few", "many"])
def test_what_is_written_again_is_what_was_written_first(group_by: GroupBy | None, groups: int) -> None:
    used = told(group_by, groups)
    first, again = usage._written(used, group_by), usage._written(told(group_by, groups), group_by)
    assert first == again
    assert orjson.loads(b"[" + first.text + b"]") == usage._items(used, group_by)
    assert first.items == groups


def test_the_same_sums_in_another_zone_or_grouping_are_other_items() -> None:
    texts = {
        usage._written(told(GroupBy.MODEL, east=east), group_by).text
        for east in (0, 20_700)
        for group_by in (GroupBy.MODEL, GroupBy.KIND)
    }
    assert len(texts) == 4


def test_long_lists_are_not_kept() -> None:
    before = usage._remembered.cache_info()
    usage._written(told(GroupBy.ENGINE, 500), GroupBy.ENGINE)
    assert usage._remembered.cache_info() == before
