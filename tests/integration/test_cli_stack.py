"""`lekhika` as people use it: the real stack, started, used and ended by the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

UP_SECONDS = 60


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy.local.cli", *arguments]


def lekhika(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=90, env=clean(), check=False
    )


def clean() -> dict[str, str]:
    """No key and no address of the caller's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("LEKHIKA_", "GEMINI_"))}


def crowding() -> float:
    """How many programs share one core at the moment; 1 on a machine that is not busy."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def up(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A stack in the foreground and its first line; interrupted at the end, when it must leave nothing."""
    arguments = command("up", "--home", str(home), "--port", "0", *options)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=clean()) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready http://127.0.0.1:")
            started = psutil.Process(process.pid).children(recursive=True)
            yield process, line.split()[1]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert [one for one in started if one.is_running()] == []


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a stack that has told of its sample."""
    folder = tmp_path_factory.mktemp("home")
    with up(folder) as (process, _):
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any("completed" in line and "execution" in line for line in lines), "the sample did not end"
        yield folder


def as_json(*arguments: str) -> Any:
    result = lekhika(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_run_is_followed_to_its_text(home: Path) -> None:
    result = lekhika("run", "short-book", "--input", "topic=tides", "--follow", "--home", str(home))
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) > 200
    assert "completed" in result.stderr


def test_a_stop_keeps_the_execution_and_says_who_asked(home: Path) -> None:
    slow = "topic=storms [[standin chunk_ms=2000]]"  # so that it still runs when the next command has started
    started = lekhika("run", "short-book", "--input", slow, "--home", str(home)).stdout.strip()
    assert lekhika("stop", started, "--reason", "enough", "--home", str(home)).returncode == 0
    assert lekhika("watch", started, "--home", str(home)).returncode == 1
    shown = as_json("show", started, "--home", str(home))
    assert shown["status"] == "stopped"
    assert shown["stop"]["reason"] == "enough"


def test_an_engine_goes_from_a_file_into_a_run(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "echo.yaml"
    file.write_text(
        "id: echo\nname: Echo\ninputs: {word: {type: text, required: true}}\n"
        'nodes: [{id: said, kind: template, template: "You said {{ word }}"}]\noutput: said\n'
    )
    assert lekhika("engine", "validate", str(file), "--home", str(home)).returncode == 0
    assert lekhika("engine", "put", str(file), "--home", str(home)).returncode == 0
    result = lekhika("run", "echo", "-i", "word=hello", "--follow", "--home", str(home))
    assert (result.returncode, result.stdout) == (0, "You said hello\n"), result.stderr


def test_the_fleet_is_listed(home: Path) -> None:
    services = sorted(worker["service"] for worker in as_json("workers", "--home", str(home))["items"])
    assert services == ["analytics", "executor", "executor", "gateway", "janitor"]


def test_a_refusal_is_one_text_on_stderr_and_exit_code_1(home: Path) -> None:
    result = lekhika("run", "no-such-engine", "--home", str(home))
    assert (result.returncode, result.stdout) == (1, "")
    assert "404" in result.stderr
    assert "lekhika engine list" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_home_in_use_is_refused(home: Path) -> None:
    result = lekhika("up", "--home", str(home), "--port", "0")
    assert result.returncode == 1
    assert "lekhika down" in result.stderr


@pytest.mark.fault
def test_a_second_start_is_fast_and_knows_what_was_before(tmp_path: Path) -> None:
    options = ("--home", str(tmp_path))
    with up(tmp_path, "--no-sample"):
        started = lekhika("run", "article", "-i", "topic=ink", "--follow", "--json", *options)
        assert started.returncode == 0, started.stderr
    begun = time.monotonic()
    with up(tmp_path, "--no-sample"):
        assert time.monotonic() - begun < 10 * crowding()
        assert [item["status"] for item in as_json("list", *options)["items"]] == ["completed"]


@pytest.mark.fault
def test_detached_it_runs_on_until_down(tmp_path: Path) -> None:
    started = lekhika("up", "--home", str(tmp_path), "--port", "0", "--detach")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("ready http://127.0.0.1:")
    stack = json.loads((tmp_path / "stack.json").read_text())
    assert lekhika("down", "--home", str(tmp_path)).returncode == 0
    assert [one for one in stack["processes"] if psutil.pid_exists(one["pid"])] == []
    again = lekhika("down", "--home", str(tmp_path))
    assert again.returncode == 1
    assert "No stack runs" in again.stderr


def test_read_models_of_a_running_stack_are_rebuilt_checked_and_priced(home: Path, tmp_path: Path) -> None:
    for_home = ("--home", str(home))
    for what in ("analytics", "executions"):
        done = as_json("rebuild", what, *for_home)
        assert (done["corrected"], done["removed"]) == (0, 0), what
    assert as_json("admin", "reprice", "--dry-run", *for_home)["changed"] == []
    user = json.loads((home / "credentials.json").read_text())["user"]["user_id"]
    old = {"execution_id": "old-1", "user": user, "engine_id": "book", "engine_name": "A book"}
    old |= {"outcome": "completed", "ended": "2025-10-01T12:00:00Z", "output": 7, "model": "gemini-3.8-flash"}
    file = tmp_path / "old.jsonl"
    file.write_text(json.dumps(old))
    done = [as_json("admin", "import-executions", str(file), *for_home) for _ in range(2)]
    assert [(one["executions"], one["imported_before"]) for one in done] == [(1, 0), (0, 1)]
    file.write_text("\n".join([json.dumps(old), "[" * 100_000]))
    refused = lekhika("admin", "import-executions", str(file), "--json", *for_home)
    told = json.loads(refused.stdout)
    assert (refused.returncode, told["imported_before"], told["rejected_lines"]) == (1, 1, 1)
    checked = as_json("admin", "check", *for_home)
    assert [one for one in checked["checks"] if not one["ok"]] == []
