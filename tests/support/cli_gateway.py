"""A gateway that answers what the contract says, for commands that are tried without a stack."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs

Asked = list[tuple[str, str, Any, str | None]]
"""Method, path, body and Authorization of each request."""

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
STOPPED = 'id: 3\nevent: end\ndata: {"status": "stopped"}\n\n'
SHARED = {"id": "theirs", "version": 4, "owner": "somebody", "shared": True}
USAGE = {
    "items": [{"bucket": "2026-01-01T05:45:00+05:45", "model": "m", "tokens": TOKENS}],
    "totals": TOKENS | {"certainty": "unknown"},
    "as_of": "2026-01-01T00:00:00Z",
    "lag_seconds": 0,
    "timezone": "Asia/Kathmandu",
}
INSIGHTS = {
    "items": [
        {
            "engine": {"id": "short-book", "name": "Short book"},
            "runs": 3,
            "completed": 2,
            "stopped": 1,
            "failed": 0,
            "success_rate": 0.6667,
            "mean_tokens": 1110.7,
            "mean_duration_seconds": None,
            "certainty": "unknown",
        }
    ],
    "from": "2026-01-01T00:00:00Z",
    "to": "2026-01-02T00:00:00Z",
    "as_of": "2026-01-01T00:00:00Z",
    "lag_seconds": 0,
    "timezone": "Asia/Kathmandu",
}
INVALID = {
    "title": "Invalid input",
    "status": 422,
    "detail": "An input is missing.",
    "code": "invalid_input",
    "errors": [{"field": "input.topic", "detail": "is required"}],
}

ANSWERS: dict[str, Any] = {
    "/v1/executions/019a": EXECUTION,
    "/v1/executions/019a/events": SECOND_PART,
    "/v1/executions/019a/output": "# A book",
    "/v1/executions/019s": EXECUTION | {"status": "stopped", "stop": {"by": "me"}},
    "/v1/executions/019q": EXECUTION
    | {
        "status": "stopped",
        "started_at": None,
        "stop": {"by": "me", "at": "2026-01-01T00:00:01Z"},
        "nodes": [{"id": "outline", "kind": "generate", "status": "pending"}],
    },
    "/v1/executions/019s/events": STOPPED,
    "/v1/executions/019s/output": "",
    "/v1/engines": {
        "items": [{"id": "mine", "version": 1, "owner": "me"}, SHARED],
        "drafts": [],
        "next_cursor": None,
    },
    "/v1/engines/short-book": {"id": "short-book", "inputs": {"chapters": {"type": "number"}}},
    "/v1/usage": USAGE,
    "/v1/usage/insights": INSIGHTS,
    "/v1/me": {"user_id": "me"},
    "/v1/models": {
        "items": [
            {
                "name": "old",
                "tier": "included",
                "input_limit": 1048576,
                "output_limit": None,
                "retired": True,
                "retired_at": "2026-01-01T00:00:00Z",
                "successor": "new",
                "capabilities": {"text": True},
                "unlisted_at": None,
            }
        ],
        "next_cursor": None,
    },
}


EARLIER_STOP = {"by": "me", "at": "2026-01-01T00:00:01Z", "reason": "first"}
POST_ANSWERS: dict[str, tuple[int, Any]] = {
    "/v1/executions/019e/stop": (200, EXECUTION),
    "/v1/executions/019r/stop": (202, EXECUTION | {"status": "stopping", "stop": EARLIER_STOP}),
}


def page_of_executions(query: dict[str, list[str]]) -> dict[str, Any]:
    """One, or 150 of the engine `many`, a page after the other."""
    all_of_them = 150 if query.get("engine") == ["many"] else 1
    begin, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
    assert 0 < limit <= 100
    end = min(all_of_them, begin + limit)
    return {"items": [EXECUTION] * (end - begin), "next_cursor": str(end) if end < all_of_them else None}


class Gateway(BaseHTTPRequestHandler):
    """Remembers what it was asked; the first stream of events is cut after two of them."""

    asked: ClassVar[Asked] = []

    def do_GET(self) -> None:
        self._note(None)
        path, _, query = self.path.partition("?")
        if path == "/v1/executions/019a/events" and self.headers["Last-Event-ID"] is None:
            self._send(200, FIRST_PART)
        elif path == "/v1/executions":
            self._send(200, page_of_executions(parse_qs(query)))
        elif path in ANSWERS:
            self._send(200, ANSWERS[path])
        else:
            self._send(404, {"title": "Not found", "status": 404, "detail": "There is no such thing."})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note(body)
        if self.path in POST_ANSWERS:
            self._send(*POST_ANSWERS[self.path])
        elif self.path == "/v1/engines/validate":
            errors = [] if body.get("id") else INVALID["errors"]
            warnings = [] if errors else [{"field": "limits.seconds", "detail": "8 is the most"}]
            self._send(200, {"valid": not errors, "errors": errors, "warnings": warnings})
        elif not body.get("input") and self.path == "/v1/executions":
            self._send(422, INVALID)
        else:
            self._send(202, EXECUTION)

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note(body)
        self._send(200, body | {"version": body.get("version", 1), "owner": "me"})

    def _note(self, body: Any) -> None:
        self.asked.append((self.command, self.path, body, self.headers["Authorization"]))

    def _send(self, status: int, content: Any) -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        kind = "text/event-stream" if self.path.endswith("/events") else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if "format=" in self.path:
            self.send_header(
                "Content-Disposition", "attachment; filename=\"T.md\"; filename*=UTF-8''..%2FTh%C3%A9.md"
            )
            self.send_header("X-Lekhika-Partial", "true" if "019s" in self.path else "false")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def serving() -> Iterator[tuple[str, Asked]]:
    """The gateway's address, and what it is asked from now on."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Gateway.asked.clear()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Gateway.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
