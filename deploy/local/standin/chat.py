"""The same answers in the wire format of OpenAI's chat completions, streams only."""

import re
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import cast
from urllib.parse import urlsplit

import orjson

from deploy.local.standin import asked as asking
from deploy.local.standin import calls, catalog, problems
from deploy.local.standin.asked import Asked
from deploy.local.standin.bend import build
from deploy.local.standin.calls import Room
from deploy.local.standin.connection import Exchange
from deploy.local.standin.faults import BLOCKING, Fault
from deploy.local.standin.ledger import Entry
from deploy.local.standin.options import Options, UsageReport, WrongOption, split_model
from deploy.local.standin.problems import Problem, Refused
from deploy.local.standin.wire import Dialect, Framing, Parts, Stamp, Usage

_PATH = "/v1/chat/completions"
_KEPT_HEADERS = ("traceparent", "tracestate", "user-agent", "x-standin", "accept")
_FINISHES = {"STOP": "stop", "MAX_TOKENS": "length"}
_CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}
_BLOCKED = Problem(400, "content_filter", "The prompt was filtered by the content policy.")
_EVENTS = Framing(b"text/event-stream", b"data: ", b"data: ", b"\n\n", b"data: [DONE]\n\n")


async def answer(room: Room, exchange: Exchange) -> bool:
    """Answers a chat completion; false if the request is something else."""
    request = exchange.request
    if request.method != "POST" or urlsplit(request.target).path != _PATH:
        return False
    entry = room.ledger.open(secrets.token_urlsafe(16), request.received_ns)
    exchange.on_gone = entry.close
    entry.method, entry.stream = "chat.completions", True
    entry.headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
    entry.body_digest = blake2b(request.body, digest_size=16).hexdigest()
    entry.body_size = len(request.body)
    try:
        await _serve(room, exchange, entry)
    except Refused as error:
        await calls.refuse(exchange, entry, error.problem, CHAT, _wait(error.problem))
    except WrongOption as error:
        await calls.refuse(exchange, entry, problems.invalid(str(error)), CHAT)
    return True


def models() -> dict[str, object]:
    """The body of `GET /v1/models`."""
    return {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 0, "owned_by": "stand-in"}
            for name in catalog.names("v1beta")
        ],
    }


async def _serve(room: Room, exchange: Exchange, entry: Entry) -> None:
    key = exchange.request.headers.get("authorization", "").removeprefix("Bearer ")
    if key in ("", "bad-key"):
        raise Refused(problems.for_status(401, "", "v1", "chat", Options()))
    body = asking.read_object(exchange.request.body)
    asked = read(body)
    name, instructions = split_model(str(body.get("model", "")))
    entry.model = name
    if not name or "missing" in name:
        raise Refused(Problem(404, "NOT_FOUND", f"The model `{name}` does not exist."))
    options = await calls.told(room, exchange, entry, asked, name, {"usage": "last", **instructions})
    if options.fault.status is not None:
        raise Refused(problems.for_status(options.fault.status, name, "v1", "chat", options))
    if options.fault is Fault.PROMPT_BLOCKED:
        raise Refused(_BLOCKED)
    stream_options = body.get("stream_options")
    if not (isinstance(stream_options, dict) and stream_options.get("include_usage")):
        options = options.model_copy(update={"usage": UsageReport.NONE})
    entry.model_version = options.answer or name
    play = build(calls.planned(asked, name, options), Stamp(entry.model_version, entry.id), options, CHAT)
    entry.text = play.text
    await calls.play_stream(exchange, entry, play, _EVENTS)


def read(body: Mapping[str, object]) -> Asked:
    """Raises Refused for what is no request for a stream."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refused(problems.invalid("messages must be a list that is not empty"))
    if body.get("stream") is not True:
        raise Refused(problems.invalid("the stand-in answers only with stream: true"))
    system = [_text(m) for m in messages if m.get("role") in ("system", "developer")]
    turns = [_text(m) for m in messages if m.get("role") in ("user", "assistant")]
    wanted = body.get("response_format")
    shape = cast("Mapping[str, object]", wanted) if isinstance(wanted, dict) else {}
    schema = shape.get("json_schema")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Asked(
        system="\n".join(system),
        prompt="\n".join(turns),
        first=turns[0] if turns else "",
        media=0,
        wants_json=shape.get("type") in ("json_schema", "json_object"),
        schema=schema.get("schema") if isinstance(schema, dict) else None,
        enum=False,
        max_output_tokens=limit if isinstance(limit, int) else None,
        stop_sequences=(),
    )


def _text(message: Mapping[str, object]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _chunk(stamp: Stamp, choices: list[dict[str, object]], usage: Usage | None) -> bytes:
    chunk: dict[str, object] = {
        "id": stamp.response_id,
        "object": "chat.completion.chunk",
        "created": 0,
        "model": stamp.model_version,
        "choices": choices,
    }
    if usage is not None:
        chunk["usage"] = _usage(usage)
    return orjson.dumps(chunk)


def _usage(usage: Usage) -> dict[str, object]:
    output = usage.candidates + usage.thoughts
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": output,
        "total_tokens": usage.prompt + output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.thoughts},
    }


def _answer(stamp: Stamp, parts: Parts | None, finish: str | None, usage: Usage | None) -> bytes:
    """A chunk; the last one's usage follows it in a chunk without choices, as OpenAI writes it."""
    delta: dict[str, object] = {"role": "assistant"}
    for part in parts or ():
        delta["reasoning_content" if part.get("thought") else "content"] = part["text"]
    reason = None if finish is None else _FINISHES.get(finish, _filtered(finish))
    choice: dict[str, object] = {"index": 0, "delta": delta, "finish_reason": reason}
    if finish is None or usage is None:
        return _chunk(stamp, [choice], usage)
    return _chunk(stamp, [choice], None) + b"\n\ndata: " + _chunk(stamp, [], usage)


def _filtered(finish: str) -> str:
    return "content_filter" if finish in BLOCKING.values() else finish.lower()


def _blocked(stamp: Stamp, reason: str, usage: Usage | None) -> bytes:
    return _answer(stamp, None, "SAFETY", usage)


def _error(problem: Problem) -> dict[str, object]:
    code = "content_filter" if problem is _BLOCKED else _CODES.get(problem.code, problem.status.lower())
    kind = "server_error" if problem.code >= 500 else "invalid_request_error"
    return {"error": {"message": problem.message, "type": kind, "param": None, "code": code}}


def _wait(problem: Problem) -> list[tuple[bytes, bytes]]:
    """The header Retry-After of a 429."""
    found = re.search(r"retry in ([\d.]+)s", problem.message)
    return [(b"retry-after", found[1].encode())] if found is not None else []


CHAT = Dialect(_answer, _blocked, _error)
