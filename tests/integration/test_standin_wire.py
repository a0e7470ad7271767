"""The stand-in at the level of bytes: every fault once, and when and how sockets close."""

import asyncio
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings

KEY = {"x-goog-api-key": "a-key-for-tests"}
BODY = {"contents": [{"parts": [{"text": "Write about the harbours of the north."}]}]}
BLOCKING = ["safety", "recitation", "language", "blocklist", "prohibited_content", "spii"]


@pytest_asyncio.fixture
async def standin() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(Settings(first_ms=0, chunk_ms=1, chunks=6)) as url,
        httpx.AsyncClient(base_url=url, headers=KEY, timeout=10) as client,
    ):
        yield client


async def stream(
    client: httpx.AsyncClient, options: str, body: Any = BODY
) -> tuple[list[str], Exception | None]:
    """The events of a stream as text, and what ended it early."""
    received = ""
    url = "/v1beta/models/flash:streamGenerateContent?alt=sse"
    try:
        async with client.stream("POST", url, json=body, headers={"x-standin": options}) as response:
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream"
            async for text in response.aiter_text():
                received += text
    except httpx.TransportError as error:
        return received.split("\r\n\r\n")[:-1], error
    return received.split("\r\n\r\n")[:-1], None


def decoded(events: list[str]) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix("data: ")) for event in events]


def finishes(chunks: list[dict[str, Any]]) -> list[str | None]:
    return [chunk["candidates"][0].get("finishReason") for chunk in chunks]


def text_of(chunks: list[dict[str, Any]]) -> str:
    parts = [part for c in chunks for part in c["candidates"][0].get("content", {}).get("parts", [])]
    return "".join(part["text"] for part in parts if not part.get("thought"))


async def last_call(client: httpx.AsyncClient) -> dict[str, Any]:
    items = (await client.get("/admin/ledger")).json()["items"]
    return dict(items[-1])


async def closed_call(client: httpx.AsyncClient) -> dict[str, Any]:
    """The only call, once the ledger knows that it is over."""
    waited = await client.get("/admin/wait", params={"calls": 1, "closed": 1, "timeout": 5})
    assert waited.status_code == 200, waited.text
    return await last_call(client)


async def test_a_stream_is_events_with_a_constant_id_and_one_finish_reason(
    standin: httpx.AsyncClient,
) -> None:
    events, error = await stream(standin, "")
    chunks = decoded(events)
    assert error is None
    assert finishes(chunks) == [None] * 5 + ["STOP"]
    assert len({chunk["responseId"] for chunk in chunks}) == 1
    call = await closed_call(standin)
    assert (call["status"], call["chunks_sent"], call["closed_by"]) == (200, 6, "server")
    assert call["text_sent"] == text_of(chunks)
    assert call["usage"] == chunks[-1]["usageMetadata"]
    assert call["id"] == chunks[-1]["responseId"]
    assert call["api_key_tail"] == "ests"


async def test_without_sse_a_stream_is_one_json_list(standin: httpx.AsyncClient) -> None:
    answer = await standin.post("/v1beta/models/flash:streamGenerateContent", json=BODY)
    assert finishes(answer.json())[-1] == "STOP"


async def test_a_connection_is_kept_for_the_next_call(standin: httpx.AsyncClient) -> None:
    for _ in range(3):
        await stream(standin, "words=3,chunks=1")
    assert (await last_call(standin))["seq"] == 3


@pytest.mark.parametrize("fault", BLOCKING)
async def test_a_blocked_answer_keeps_its_first_text(standin: httpx.AsyncClient, fault: str) -> None:
    chunks = decoded((await stream(standin, f"fault={fault},after=2"))[0])
    assert finishes(chunks) == [None, None, fault.upper()]
    assert text_of(chunks) == (await last_call(standin))["text_sent"] != ""


async def test_a_blocked_prompt_has_no_candidates(standin: httpx.AsyncClient) -> None:
    (chunk,) = decoded((await stream(standin, "fault=prompt_blocked"))[0])
    assert chunk["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in chunk


@pytest.mark.parametrize(
    ("options", "finish", "has_text"),
    [
        ("fault=max_tokens", "MAX_TOKENS", True),
        ("fault=max_tokens_thoughts", "MAX_TOKENS", False),
        ("fault=empty", "STOP", False),
        ("fault=empty_last", "STOP", True),
        ("fault=unknown_reason", "A_REASON_FROM_THE_FUTURE", True),
        ("fault=no_finish", None, True),
        ("thoughts=9", "STOP", True),
    ],
)
async def test_odd_endings(
    standin: httpx.AsyncClient, options: str, finish: str | None, has_text: bool
) -> None:
    events, error = await stream(standin, options)
    chunks = decoded(events)
    assert error is None
    assert finishes(chunks)[-1] == finish
    assert bool(text_of(chunks)) is has_text
    call = await closed_call(standin)
    assert (call["finish_reason"], call["text_sent"]) == (finish, text_of(chunks))


async def test_thoughts_come_first_as_a_part_of_their_own(standin: httpx.AsyncClient) -> None:
    first, *_, last = decoded((await stream(standin, "thoughts=9,cached=4,tool=2"))[0])
    assert first["candidates"][0]["content"]["parts"][0]["thought"] is True
    usage = last["usageMetadata"]
    assert (
        usage["thoughtsTokenCount"],
        usage["cachedContentTokenCount"],
        usage["toolUsePromptTokenCount"],
    ) == (9, 4, 2)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"] + 9 + 2


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_a_broken_connection(standin: httpx.AsyncClient, fault: str) -> None:
    events, error = await stream(standin, f"fault={fault},after=3,chunk_ms=10")
    assert isinstance(error, httpx.RemoteProtocolError if fault == "cut" else httpx.ReadError)
    call = await closed_call(standin)
    assert (call["chunks_sent"], call["closed_by"], call["finish_reason"]) == (3, "server", None)
    assert text_of(decoded(events)) == call["text_sent"]


@pytest.mark.parametrize(("fault", "sent"), [("stall", 2), ("stall_first", 0)])
async def test_a_stalled_answer_is_held_until_the_client_leaves(
    standin: httpx.AsyncClient, fault: str, sent: int
) -> None:
    async with raw_call(standin, f"fault={fault},after=2") as (_, writer):
        await standin.get("/admin/wait", params={"calls": 1, "streaming": min(sent, 1), "timeout": 5})
        assert (await standin.get("/admin/wait", params={"closed": 1, "timeout": 0.05})).status_code == 408
        writer.close()
        call = await closed_call(standin)
    assert (call["chunks_sent"], call["closed_by"]) == (sent, "client")


async def test_an_error_inside_of_a_stream(standin: httpx.AsyncClient) -> None:
    chunks = decoded((await stream(standin, "fault=error_in_stream,after=1"))[0])
    assert chunks[-1]["error"]["status"] == "UNAVAILABLE"


async def test_lines_that_the_format_does_not_allow(standin: httpx.AsyncClient) -> None:
    assert ": keep-alive" in (await stream(standin, "fault=comment_line"))[0]
    with pytest.raises(json.JSONDecodeError):
        decoded((await stream(standin, "fault=bad_json_line"))[0])


@pytest.mark.parametrize("fault", ["broken_schema", "truncated_json"])
async def test_structured_output_gone_wrong(standin: httpx.AsyncClient, fault: str) -> None:
    config = {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}
    text = text_of(
        decoded((await stream(standin, f"fault={fault}", {**BODY, "generationConfig": config}))[0])
    )
    if fault == "broken_schema":
        assert isinstance(json.loads(text), list)
    else:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)


@pytest.mark.parametrize(
    ("fault", "reports"), [("usage_last_only", [False, True]), ("no_usage", [False, False])]
)
async def test_usage_can_come_late_or_never(
    standin: httpx.AsyncClient, fault: str, reports: list[bool]
) -> None:
    chunks = decoded((await stream(standin, f"fault={fault},chunks=2"))[0])
    assert ["usageMetadata" in chunk for chunk in chunks] == reports
    assert ((await last_call(standin))["usage"] is not None) is reports[-1]


@pytest.mark.parametrize(
    ("status", "name"),
    [(400, "INVALID_ARGUMENT"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND"),
     (429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (503, "UNAVAILABLE")],
)  # fmt: skip
async def test_refusals(standin: httpx.AsyncClient, status: int, name: str) -> None:
    url = f"/v1beta/models/flash+fault=status_{status},delay_s=39:generateContent"
    answer = await standin.post(url, json=BODY)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (status, status, name)
    if status == 429:
        assert error["details"][-1] == {
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": "39s",
        }
    call = await last_call(standin)
    assert (call["status"], call["usage"], call["chunks_sent"]) == (status, None, 0)


async def test_a_fault_for_the_first_calls_only(standin: httpx.AsyncClient) -> None:
    url = "/v1beta/models/flash+fault=status_503,times=2,id=a:generateContent"
    assert [(await standin.post(url, json=BODY)).status_code for _ in range(4)] == [503, 503, 200, 200]


@pytest.mark.parametrize(
    ("model", "key", "body", "code", "text"),
    [("flash", "bad-key", BODY, 400, "API_KEY_INVALID"), ("flash", "", BODY, 400, "API_KEY_INVALID"),
     ("gemini-0", "k", BODY, 404, "not found for API version v1beta"), ("flash", "k", {}, 400, "contents"),
     ("flash+wings=2", "k", BODY, 400, "wings")],
)  # fmt: skip
async def test_wrong_calls(
    standin: httpx.AsyncClient, model: str, key: str, body: Any, code: int, text: str
) -> None:
    answer = await standin.post(
        f"/v1beta/models/{model}:generateContent", json=body, headers={"x-goog-api-key": key}
    )
    assert answer.status_code == code
    assert text in answer.text


async def test_a_head_request_gets_no_body(standin: httpx.AsyncClient) -> None:
    assert (await standin.head("/livez")).content == b""
    assert (await standin.get("/livez")).json() == {"status": "ok"}


async def test_broken_json_is_refused(standin: httpx.AsyncClient) -> None:
    answer = await standin.post("/v1beta/models/flash:generateContent", content=b'{"contents": [')
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


async def test_an_alias_does_not_exist_on_v1(standin: httpx.AsyncClient) -> None:
    alias = await standin.post("/v1/models/flash:generateContent", json=BODY)
    assert (
        "models/flash is not found for API version v1, or is not supported for generateContent" in alias.text
    )
    assert (await standin.post("/v1/models/gemini-3.8-flash:generateContent", json=BODY)).status_code == 200


@pytest.mark.parametrize(
    ("fault", "error"),
    [("cut", httpx.RemoteProtocolError), ("reset", httpx.TransportError), ("bad_json_line", ValueError)],
)
async def test_faults_of_an_answer_in_one_piece(
    standin: httpx.AsyncClient, fault: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        (await standin.post(f"/v1beta/models/flash+fault={fault}:generateContent", json=BODY)).json()


@asynccontextmanager
async def raw_call(
    client: httpx.AsyncClient, options: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A streaming call on a bare socket."""
    body = json.dumps(BODY).encode()
    head = (
        "POST /v1beta/models/flash:streamGenerateContent?alt=sse&key=a-key-for-tests HTTP/1.1\r\nhost: x\r\n"
        f"x-standin: {options}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        writer.write(head.encode() + body)
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize("how", ["client", "client_reset"])
async def test_a_client_that_leaves_between_two_chunks_is_seen_at_once(
    standin: httpx.AsyncClient, how: str
) -> None:
    async with raw_call(standin, "chunk_ms=60000") as (reader, writer):
        await reader.readuntil(b"data: ")
        if how == "client_reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
        left_ns = time.time_ns()
        call = await closed_call(standin)
    assert call["closed_by"] == how
    assert (call["closed_ns"] - left_ns) / 1e6 < 500
    assert call["chunks_sent"] == 1


async def test_a_client_that_sends_half_a_request_leaves_no_call(standin: httpx.AsyncClient) -> None:
    _, writer = await asyncio.open_connection(standin.base_url.host, standin.base_url.port)
    writer.write(
        b"POST /v1beta/models/flash:generateContent HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
    )
    writer.close()
    await writer.wait_closed()
    assert (await standin.get("/admin/ledger/summary")).json()["calls"] == 0


async def test_defaults_ledger_and_summary(standin: httpx.AsyncClient) -> None:
    changed = await standin.put("/admin/defaults", json={"chunks": 2, "answer": "gemini-3.5-flash-lite"})
    assert changed.json()["chunks"] == 2
    await stream(standin, "prompt_tokens=100,output_tokens=40")
    call = await last_call(standin)
    assert (await standin.get(f"/admin/ledger/{call['id']}")).json() == call
    assert call["tokens"] == {"input": 100, "cached": 0, "output": 40, "thoughts": 0, "tool": 0, "total": 140}
    sums = (await standin.get("/admin/ledger/summary")).json()
    assert sums["by_model"] == {"gemini-3.5-flash-lite": {**call["tokens"], "calls": 1}}
    assert (await standin.put("/admin/defaults", json={"wings": 2})).status_code == 400
    assert (await standin.delete("/admin/ledger")).json()["calls"] == 0
    assert (await standin.get("/admin/ledger", params={"after": 0})).json() == {"items": []}


async def test_the_program_prints_its_url_and_ends_on_a_signal() -> None:
    arguments = [sys.executable, "-m", "deploy.local.standin", "--port", "0"]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["url"]
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/livez")).status_code == 200
            async with raw_call(client, "fault=stall") as (reader, _):
                await reader.readuntil(b"data: ")
                process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(process.wait(), 5) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
