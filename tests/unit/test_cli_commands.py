"""Commands against a gateway that answers what the contract says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.local.cli import build
from deploy.local.client import NoAnswer, Refused
from tests.support.cli_gateway import INVALID, Asked, serving


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    with serving() as (url, asked):
        monkeypatch.setenv("LEKHIKA_URL", url)
        monkeypatch.setenv("LEKHIKA_API_KEY", "lk_test")
        yield asked


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(build(), list(arguments))


def test_run_prints_the_id_and_sends_typed_inputs(asked: list[Any]) -> None:
    result = invoke("run", "short-book", "--input", "topic=tea", "-i", "chapters=3")
    assert (result.exit_code, result.stdout) == (0, "019a\n")
    body = {"engine": "short-book", "input": {"topic": "tea", "chapters": 3}}
    assert asked[-1] == ("POST", "/v1/executions", body, "Bearer lk_test")


def test_a_refusal_names_the_field(asked: list[Any]) -> None:
    result = invoke("run", "short-book")
    assert isinstance(result.exception, Refused)
    assert str(result.exception) == "Invalid input (422)\n  input.topic: is required"


def test_an_input_of_the_wrong_form_is_wrong_usage(asked: list[Any]) -> None:
    assert invoke("run", "short-book", "--input", "topic").exit_code == 2
    assert asked == []


def test_following_goes_on_after_a_cut_and_prints_only_the_output_on_stdout(asked: list[Any]) -> None:
    result = invoke("run", "short-book", "-i", "topic=tea", "--follow")
    assert (result.exit_code, result.stdout) == (0, "# A book\n")
    assert "edit running" in result.stderr
    assert [path for _, path, _, _ in asked].count("/v1/executions/019a/events") == 2


def test_watching_as_json_is_a_line_for_each_event(asked: list[Any]) -> None:
    lines = [json.loads(line) for line in invoke("watch", "019a", "--json").stdout.splitlines()]
    assert [line["event"] for line in lines] == ["snapshot", "node", "end"]
    assert lines[-1]["data"]["status"] == "completed"


def test_stop_sends_reason_and_force(asked: list[Any]) -> None:
    assert invoke("stop", "019a", "--reason", "enough", "--force").exit_code == 0
    assert asked[-1][:3] == ("POST", "/v1/executions/019a/stop", {"force": True, "reason": "enough"})


def test_a_stop_of_what_has_ended_says_so(asked: list[Any]) -> None:
    late = invoke("stop", "019e")
    assert (late.exit_code, late.stdout) == (0, "019a completed (had already ended)\n")
    assert invoke("stop", "019a").stdout == "019a completed\n"


def test_a_second_stop_with_another_reason_says_which_one_holds(asked: list[Any]) -> None:
    first, second = invoke("stop", "019r", "--reason", "other").stdout.splitlines()
    assert first == "019a stopping"
    assert second.startswith("an earlier stop holds: asked by you at ")
    assert second.endswith("(first)")
    assert "earlier" not in invoke("stop", "019r", "--reason", "first").stdout


def test_what_was_stopped_in_the_queue_had_not_begun_and_reached_no_node(asked: list[Any]) -> None:
    shown = invoke("show", "019q").stdout
    assert "it had not begun: no model was called" in shown
    assert "not reached" in shown
    assert not {"?", "pending"} & set(shown.split())


@pytest.mark.parametrize("command", [["show", "019a"], ["list"], ["usage"]])
def test_people_get_text_and_programs_one_json_object(asked: list[Any], command: list[str]) -> None:
    assert "15" in invoke(*command).stdout
    assert isinstance(json.loads(invoke(*command, "--json").stdout), dict)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_validate_fails_for_a_definition_with_errors_and_lists_them(
    asked: list[Any], tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text("name: Nameless")
    result = invoke("engine", "validate", str(file), *options)
    assert (result.exit_code, "is required" in result.output) == (1, True)
    file.write_text("id: named")
    good = invoke("engine", "validate", str(file), *options)
    assert (good.exit_code, "8 is the most" in good.output) == (0, True)


@pytest.mark.parametrize("offline", [True, False])
def test_validate_works_without_a_gateway_and_says_what_it_did_not_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool
) -> None:
    monkeypatch.delenv("LEKHIKA_URL", raising=False)
    options = [*(["--offline"] if offline else []), "--home", str(tmp_path / "no-stack")]
    node = {"id": "text", "kind": "generate", "model": "never-heard-of", "prompt": "x"}
    file = tmp_path / "engine.json"
    file.write_text(json.dumps({"id": "a", "name": "A", "nodes": [node], "output": "text", "version": 3}))
    good = invoke("engine", "validate", str(file), *options)
    assert (good.exit_code, "models were not checked" in good.stderr) == (0, True)
    file.write_text(json.dumps({"id": "a", "name": "A", "nodes": [node], "output": "txt"}))
    bad = invoke("engine", "validate", str(file), "--json", *options)
    verdict = json.loads(bad.stdout)
    assert (bad.exit_code, verdict["valid"], verdict["models_checked"]) == (1, False, False)
    assert verdict["errors"][0]["field"] == "output"


def test_a_gateway_that_does_not_answer_is_no_hindrance_to_validating(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEKHIKA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LEKHIKA_API_KEY", "lk_test")
    file = tmp_path / "engine.json"
    file.write_text("{}")
    assert json.loads(invoke("engine", "validate", str(file), "--json").stdout)["models_checked"] is False


def test_an_unknown_thing_is_a_refusal(asked: list[Any]) -> None:
    assert isinstance(invoke("show", "019b").exception, Refused)


def test_no_gateway_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEKHIKA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LEKHIKA_API_KEY", "lk_test")
    result = invoke("list")
    assert isinstance(result.exception, NoAnswer)
    assert "http://127.0.0.1:1" in str(result.exception)


@pytest.mark.parametrize(("limit", "found", "left"), [("120", 120, "120"), ("1000", 150, None)])
def test_a_long_list_is_read_in_pages(asked: list[Any], limit: str, found: int, left: str | None) -> None:
    page = json.loads(invoke("list", "--engine", "many", "--limit", limit, "--json").stdout)
    assert (len(page["items"]), page["next_cursor"]) == (found, left)


def test_everybody_may_list_the_models(asked: list[Any]) -> None:
    head, row = invoke("models").stdout.splitlines()
    assert head.split() == ["model", "tier", "input", "limit", "output", "limit"]
    assert row.split() == ["old", "included", "1,048,576", "retired,", "take", "new"]
    assert asked[-1][1] == "/v1/models"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--home", "X", "list"], "--home goes after the command"),
        (["engine", "--json", "list"], "--json goes after the command"),
        (["follow", "019a"], "Did you mean 'watch'?"),
        (["stopp", "019a"], "Did you mean 'stop'?"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_what_stands_in_the_wrong_place_or_is_named_otherwise_is_told_so(words: list[str], told: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert told in result.output


def lekhika(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("execution_id", "code"), [("019a", 0), ("019s", 1)])
def test_watching_ends_as_the_execution_did(asked: list[Any], execution_id: str, code: int) -> None:
    assert invoke("watch", execution_id).exit_code == code


@pytest.mark.parametrize(("by", "begin"), [("hour", "2026-01-01 05:45"), ("day", "2026-01-01")])
def test_usage_is_shown_in_the_zone_of_the_answer(asked: list[Any], by: str, begin: str) -> None:
    head, row, total, as_of = invoke("usage", "--by", by).stdout.splitlines()
    assert (head.split("  ")[0], row.split(" m ")[0].strip()) == (f"{by} (Asia/Kathmandu)", begin)
    assert total.endswith("at least 15")
    assert total.split()[1:6] == ["10", "0", "5", "0", "0"]
    assert as_of == "as of 2026-01-01 05:45:00, 0 s behind"


def test_csv_and_json_exclude_each_other(asked: list[Any]) -> None:
    assert invoke("usage", "--csv", "--json").exit_code == 2


def test_a_stop_of_ones_own_is_by_you(asked: list[Any]) -> None:
    assert "asked by you" in invoke("show", "019s").stdout


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"id": "new"}, "stored as a new engine\n"),
        ({"id": "mine"}, "unchanged"),
        ({"id": "mine", "version": 2}, "stored as a new version"),
        ({"id": "theirs"}, "hides the shared engine"),
    ],
)
def test_put_says_what_became_of_the_definition(
    asked: list[Any], tmp_path: Path, definition: dict[str, Any], told: str
) -> None:
    file = tmp_path / "engine.json"
    file.write_text(json.dumps(definition))
    assert told in invoke("engine", "put", str(file)).stdout


def test_a_file_that_can_not_be_written_is_one_line(asked: list[Any]) -> None:
    result = lekhika("engine", "export", "short-book", "-o", "/nonexistent/x.json")
    assert (result.returncode, result.stderr) == (1, "/nonexistent/x.json: No such file or directory\n")


def test_errors_are_json_where_that_is_asked_for(asked: list[Any]) -> None:
    result = lekhika("run", "short-book", "--json")
    assert (result.returncode, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"] == {
        "code": "invalid_input",
        "status": 422,
        "detail": "An input is missing.",
        "errors": INVALID["errors"],
    }
    wrong = lekhika("usage", "--by", "week", "--json")
    assert wrong.returncode == 2
    assert json.loads(wrong.stderr)["error"]["code"] == "wrong_usage"


def test_a_reader_that_has_seen_enough_is_no_error(asked: list[Any]) -> None:
    command = [sys.executable, "-m", "deploy.local.cli", "show", "019a", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize("options", [["--executors", "0"], ["--gemini-url", "ftp://x"]])
def test_up_refuses_what_can_not_work(options: list[str]) -> None:
    assert invoke("up", *options).exit_code == 2


def test_a_download_takes_its_name_from_the_gateway_and_never_a_folder(
    asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("download", "019a")
    assert (result.exit_code, asked[-1][1]) == (0, "/v1/executions/019a/output?format=md")
    assert [file.name for file in tmp_path.iterdir()] == ["Th\u00e9.md"]
    assert (tmp_path / "Th\u00e9.md").read_text() == "# A book"


def test_a_download_overwrites_nothing_unless_told_to(asked: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "a.epub"
    file.write_text("mine")
    refused = invoke("download", "019a", "-o", str(file))
    assert isinstance(refused.exception, FileExistsError)
    assert "--force" in str(refused.exception)
    assert file.read_text() == "mine"
    assert invoke("download", "019a", "-o", str(file), "--force").exit_code == 0
    assert asked[-1][1].endswith("?format=epub")
    assert file.read_text() == "# A book"


def test_a_download_goes_to_stdout_and_says_on_stderr_that_it_is_partial(asked: list[Any]) -> None:
    result = invoke("download", "019a", "-o", "-", "--format", "HTML")
    assert (result.stdout, result.stderr, asked[-1][1][-12:]) == ("# A book", "", "?format=html")
    assert "not complete" in invoke("download", "019s", "-o", "-").stderr


@pytest.mark.parametrize("options", [["-o", "a.pdf"], ["--format", "pdf"], ["-o", "-", "--json"]])
def test_a_form_that_is_none_is_wrong_usage(asked: list[Any], options: list[str]) -> None:
    assert invoke("download", "019a", *options).exit_code == 2
    assert asked == []


def test_insights_of_each_engine_are_shown_without_a_cost(asked: list[Any]) -> None:
    head, row, period, _ = invoke("usage", "--insights").stdout.splitlines()
    assert head.split() == [
        "engine", "runs", "completed", "stopped", "failed", "success", "mean", "tokens", "mean", "seconds",
    ]  # fmt: skip
    assert row.split() == ["Short", "book", "3", "2", "1", "0", "66.7%", "at", "least", "1,110.7", "-"]
    assert period == "2026-01-01 05:45:00 to 2026-01-02 05:45:00 (Asia/Kathmandu)"


@pytest.mark.parametrize("command", [["rebuild", "analytics"], ["admin", "check"], ["admin", "reprice"]])
def test_maintenance_without_a_database_says_what_to_set(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    result = CliRunner().invoke(build(), [*command, "--home", str(tmp_path)])
    assert "DATABASE_URL" in str(result.exception)
