"""Files of old executions: a line that can not be read is rejected, and the others are imported all the same."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from services.analytics import import_executions
from services.analytics.import_executions import records
from services.analytics.import_lines import Fault
from shared.errors import Permanent


def told(file: Path) -> list[Any]:
    """Each line's content, or the number, field and reason of its fault."""
    return [
        (one.line, one.field, one.reason) if isinstance(one, Fault) else one["execution_id"]
        for _, one in records(file)
    ]


def test_a_row_with_a_huge_cell_is_rejected_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("execution_id,user\na,ada\nb," + "x" * 20_000_000 + "\nc,ada\n")
    first, (line, _, reason), last = told(file)
    assert (first, line, last) == ("a", 3, "c")
    assert "field limit" in reason


def test_an_open_quote_does_not_take_the_rest_of_the_file_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text('execution_id,user\na,ada\nb,"ada\n' + "c,ada\n" * 40_000)
    found = told(file)
    assert found[0] == "a"
    line, _, reason = found[1]
    assert line == 3
    assert "up to line" in reason
    assert set(found[2:]) == {"c"}


def test_a_header_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "old.csv"
    file.write_text("x" * 200_000 + "\na\n")
    with pytest.raises(Permanent, match="line 1: field larger"):
        list(records(file))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[" * 100_000, "is nested too deep"),
        ('{"execution_id": "b", "x": ' + "[" * 100 + "]" * 100 + "}", "is nested more than 64 deep"),
        (json.dumps({"execution_id": "x" * 1_000_000}), "is longer than 1,000,000 characters"),
        ('{"execution_id": "\\ud800"}', "half of a character"),
        ('{"x": NaN}', "must be a finite number"),
    ],
)
def test_a_wrong_line_of_json_is_rejected_alone(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text('{"execution_id": "a"}\n' + line + '\n{"execution_id": "c"}\n')
    first, wrong, last = told(file)
    assert (first, wrong[0], last) == ("a", 2, "c")
    assert reason in wrong[2]


def test_other_lines_of_an_execution_with_a_line_too_deep_can_be_told(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text('{"execution_id": "b", "x": ' + "[" * 100 + "]" * 100 + "}")
    [(_, fault)] = records(file)
    assert isinstance(fault, Fault)
    assert fault.execution_id == "b"


def test_no_rejected_line_is_a_formula(tmp_path: Path) -> None:
    file = tmp_path / "old.rejected.csv"
    faults = [Fault(2, "=x", "@y", "=HYPERLINK(1)"), Fault(3, "", "fine", "-1" * 1_000)]
    import_executions._write(file, faults)
    with file.open(newline="") as text:
        _, first, second = csv.reader(text)
    assert first == ["2", "'=x", "'@y", "'=HYPERLINK(1)"]
    assert second[:3] == ["3", "", "fine"]
    assert len(second[3]) < 250


@pytest.mark.parametrize(("rejected", "code"), [(0, 0), (2, 1)])
def test_rejected_lines_are_told_by_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rejected: int, code: int
) -> None:
    async def done(*_: Any) -> dict[str, Any]:
        return {"rejected_lines": rejected}

    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(import_executions, "import_executions", done)
    assert import_executions.main(["old.csv"]) == code
    assert json.loads(capsys.readouterr().out) == {"rejected_lines": rejected}


def test_a_map_nested_too_deep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text("[" * 100_000)
    with pytest.raises(Permanent, match="the map"):
        import_executions.names_of(file)
