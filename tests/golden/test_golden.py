"""Histories recorded by every release still decode, still fold, and still say the same."""

from pathlib import Path

import orjson
import pytest

from tests.support.make import folded
from tests.support.record_golden import GOLDEN, RECORDED, expected

HISTORIES = sorted(GOLDEN.glob("*/*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recorded_history_still_folds_to_what_it_said(path: Path) -> None:
    recorded = orjson.loads(path.read_bytes())
    state = folded(RECORDED.validate_python(recorded["events"]))
    assert orjson.loads(orjson.dumps(expected(state))) == recorded["expected"]


def test_there_are_recorded_histories() -> None:
    assert {path.stem for path in HISTORIES} >= {"completed", "stopped", "failed", "retried", "handed-back"}
