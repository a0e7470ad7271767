"""Streams as the providers write them, kept as files, read by the real SDKs."""

from pathlib import Path

import httpx2
import pytest

from services.executor.call import Call
from services.executor.models.gemini import Gemini
from services.executor.models.openai_compatible import OpenAICompatible
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.models.registry import Models
from shared.usage import Tier, Tokens
from tests.support.judging import judged

STREAMS = Path(__file__).parents[1] / "support" / "streams"


async def read(
    name: str, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b""
) -> Call:
    """A whole call that is answered with this file, or with this refusal."""
    kind = {"content-type": "text/event-stream" if status == 200 else "application/json"}
    content = body or (STREAMS / f"{name}.sse").read_bytes()

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={**kind, **(headers or {})}, content=content)

    transport = httpx2.MockTransport(answer)
    gemini = Gemini("k", "http://recorded.invalid", transport)
    models = Models(gemini, {"openai": OpenAICompatible("k", "http://recorded.invalid/v1", transport)})
    model = "openai/asked" if name.startswith("openai") else "gemini-3.8-flash"
    call = Call(models, ModelRequest(model=model, prompt="x"), Tier.PAYG, "n", 1)
    call.begin()
    await call.closed(5)
    await models.aclose()
    return call


def said(call: Call) -> str:
    try:
        if call.error is not None:
            raise call.error
        return "truncated" if judged(call.request, call.answer).truncated else "ok"
    except ModelError as error:
        return error.code


SEA, NO = "The sea is wide.", None
CASES: list[tuple[str, str, str, Tokens | None, str | None]] = [
    ("gemini-plain", "ok", SEA, Tokens(input=9, output=5), "STOP"),
    ("gemini-thoughts", "ok", "Yes.", Tokens(input=9, cached=4, output=2, thoughts=61), "STOP"),
    ("gemini-usage-last", "ok", "One. Two.", Tokens(input=12, output=4), "STOP"),
    ("gemini-all-thoughts", "token_limit", "", Tokens(input=20, thoughts=256), "MAX_TOKENS"),
    ("gemini-cut-at-limit", "truncated", "Half a sen", Tokens(input=7, output=3), "MAX_TOKENS"),
    ("gemini-prompt-blocked", "prompt_blocked", "", Tokens(input=31), NO),
    ("gemini-safety", "answer_blocked", "It begins", Tokens(input=7, output=2), "SAFETY"),
    ("gemini-no-end", "provider_unreachable", "Going on ", Tokens(input=7, output=2), NO),
    ("gemini-error", "overloaded", "Going on ", Tokens(input=7, output=2), NO),
    ("gemini-function-call", "no_content", "", Tokens(input=7, output=6), "STOP"),
    ("gemini-another-model", "ok", "From a successor.", Tokens(input=7, output=4), "STOP"),
    ("gemini-finish-alone", "ok", "All said.", Tokens(input=7, output=3), "STOP"),
    ("gemini-grounded", "ok", "With a tool.", Tokens(input=7, output=3, tool=11), "STOP"),
    ("openai-plain", "ok", SEA, Tokens(input=9, cached=4, output=5), "stop"),
    ("openai-reasoning-tokens", "ok", "Yes.", Tokens(input=9, output=2, thoughts=64), "stop"),
    ("openai-ollama", "ok", "Yes.", Tokens(input=9, output=12), "stop"),
    ("openai-vllm-continuous", "ok", "Yes. No.", Tokens(input=9, output=6), "stop"),
    ("openai-no-usage", "ok", "Yes.", NO, "stop"),
    ("openai-refusal", "answer_blocked", "", Tokens(input=9, output=7), "refusal"),
    ("openai-cut-at-limit", "truncated", "Half a sen", Tokens(input=7, output=3), "length"),
    ("openai-all-thoughts", "token_limit", "", Tokens(input=20, thoughts=256), "length"),
    ("openai-azure-filter", "answer_blocked", "It begins", Tokens(input=7, output=2), "content_filter"),
    ("openai-comments", "ok", "Yes.", Tokens(input=9, output=1), "stop"),
    ("openai-error", "overloaded", "Going on ", NO, NO),
    ("openai-rate-in-stream", "quota", "", NO, NO),
    ("openai-no-end", "provider_unreachable", "Going on ", NO, NO),
    ("openai-tool-calls", "no_content", "", Tokens(input=7, output=6), "tool_calls"),
    ("openai-empty", "no_content", "", Tokens(input=7), "stop"),
]


@pytest.mark.parametrize(("name", "code", "text", "tokens", "reason"), CASES)
async def test_a_recorded_stream_is_read_as_what_it_says(
    name: str, code: str, text: str, tokens: Tokens | None, reason: str | None
) -> None:
    call = await read(name)
    answer = call.answer
    assert (said(call), answer.text, answer.tokens, answer.finish_reason) == (code, text, tokens, reason)


def test_every_recorded_stream_is_read() -> None:
    assert {path.stem for path in STREAMS.glob("*.sse")} == {case[0] for case in CASES}


async def test_the_model_that_answered_is_the_one_that_counts() -> None:
    assert (await read("gemini-another-model")).usage[0].model == "gemini-3.5-flash-lite"
    assert (await read("openai-ollama")).usage[0].model == "openai/qwen3:8b"


LONG = b'{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."}}'
CONTEXT = b'{"error": {"message": "maximum context length", "code": "context_length_exceeded"}}'
SPENT = b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
FILTERED = b'{"error": {"message": "filtered", "code": "content_filter"}}'
HTML = b"<html>Bad gateway</html>"
REFUSALS: list[tuple[str, int, bytes, dict[str, str], str, bool, float | None]] = [
    ("gemini", 400, LONG, {}, "token_limit", False, None),
    ("gemini", 429, HTML, {"retry-after": "7"}, "quota", True, 7.0),
    ("gemini", 502, HTML, {}, "overloaded", True, None),
    ("gemini", 418, b"[1]", {}, "provider_refused", False, None),
    ("openai", 400, CONTEXT, {}, "token_limit", False, None),
    ("openai", 429, SPENT, {"retry-after": "7"}, "quota", False, None),
    ("openai", 429, HTML, {"retry-after-ms": "1500"}, "quota", True, 1.5),
    ("openai", 400, FILTERED, {}, "prompt_blocked", False, None),
    ("openai", 529, HTML, {}, "overloaded", True, None),
    ("openai", 418, b"[1]", {}, "provider_refused", False, None),
]


@pytest.mark.parametrize(("who", "status", "body", "headers", "code", "again", "delay"), REFUSALS)
async def test_an_odd_error_body_still_has_its_code(
    who: str,
    status: int,
    body: bytes,
    headers: dict[str, str],
    code: str,
    again: bool,
    delay: float | None,
) -> None:
    call = await read(who, status, headers, body)
    assert call.error is not None
    assert (call.error.code, call.error.retryable, call.error.delay) == (code, again, delay)
    assert call.usage == ()
