"""Commands against a gateway that answers what the contract says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from deploy.local.cli import build
from deploy.local.client import NoAnswer, Refused

TOKENS = {
    "input": 10,
    "cached": 0,
    "output": 5,
    "thoughts": 0,
    "tool": 0,
    "total": 15,
    "certainty": "measured",
}
EXECUTION = {
    "id": "019a",
    "engine": {"id": "short-book", "name": "Short book", "version": 1},
    "status": "completed",
    "nodes": [
        {
            "id": "outline",
            "kind": "generate",
            "status": "completed",
            "model": "m",
            "tokens": TOKENS,
            "attempts": 1,
        }
    ],
    "tokens": TOKENS,
    "created_at": "2026-01-01T00:00:00Z",
    "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:00:02Z",
}
FIRST_PART = (
    'id: 1\nevent: snapshot\ndata: {"status": "running"}\n\n'
    'id: 2\nevent: node\ndata: {"id": "edit", "status": "running"}\n\n'
)
SECOND_PART = 'id: 3\nevent: end\ndata: {"status": "completed", "output": "/v1/executions/019a/output"}\n\n'
INVALID = {
    "title": "Invalid input",
    "status": 422,
    "detail": "An input is missing.",
    "code": "invalid_input",
    "errors": [{"field": "input.topic", "detail": "is required"}],
}


class Gateway(BaseHTTPRequestHandler):
    """Remembers what it was asked; the first stream of events is cut after two of them."""

    asked: ClassVar[list[tuple[str, str, Any, str | None]]] = []

    def do_GET(self) -> None:
        self._note(None)
        match self.path.partition("?")[0]:
            case "/v1/executions/019a/events" if self.headers["Last-Event-ID"] is None:
                self._send(200, FIRST_PART, "text/event-stream")
            case "/v1/executions/019a/events":
                self._send(200, SECOND_PART, "text/event-stream")
            case "/v1/executions/019a/output":
                self._send(200, "# A book", "text/markdown")
            case "/v1/executions/019a":
                self._send(200, EXECUTION)
            case "/v1/executions":
                self._send(200, {"items": [EXECUTION], "next_cursor": None})
            case "/v1/engines/short-book":
                self._send(200, {"id": "short-book", "inputs": {"chapters": {"type": "number"}}})
            case "/v1/usage":
                self._send(200, {"items": [], "totals": TOKENS, "as_of": None, "lag_seconds": 0})
            case _:
                self._send(404, {"title": "Not found", "status": 404, "detail": "There is no such thing."})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note(body)
        if self.path == "/v1/engines/validate":
            errors = [] if body.get("id") else INVALID["errors"]
            self._send(200, {"valid": not errors, "errors": errors})
        elif not body.get("input") and self.path == "/v1/executions":
            self._send(422, INVALID)
        else:
            self._send(202, EXECUTION)

    def _note(self, body: Any) -> None:
        self.asked.append((self.command, self.path, body, self.headers["Authorization"]))

    def _send(self, status: int, content: Any, kind: str = "application/json") -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, Any, str | None]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("LEKHIKA_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LEKHIKA_API_KEY", "lk_test")
    Gateway.asked.clear()
    yield Gateway.asked
    server.shutdown()
    thread.join()
    server.server_close()


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
    assert "Invalid input (422): An input is missing." in str(result.exception)
    assert "input.topic: is required" in str(result.exception)


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
    assert result.exit_code == 1
    assert "is required" in result.output
    file.write_text("id: named")
    assert invoke("engine", "validate", str(file), *options).exit_code == 0


def test_an_unknown_thing_is_a_refusal(asked: list[Any]) -> None:
    assert isinstance(invoke("show", "019b").exception, Refused)


def test_no_gateway_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEKHIKA_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("LEKHIKA_API_KEY", "lk_test")
    result = invoke("list")
    assert isinstance(result.exception, NoAnswer)
    assert "http://127.0.0.1:1" in str(result.exception)
