"""Both providers through their real SDKs against the stand-in: every way in which an answer can end, and be broken."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings
from services.executor.call import Call
from services.executor.models.gemini import Gemini
from services.executor.models.openai_compatible import OpenAICompatible
from services.executor.models.provider import ModelError, ModelRequest
from services.executor.models.registry import Models
from shared.ids import new_id
from shared.usage import Certainty, Tier
from tests.support.judging import judged

pytestmark = pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning")  # the SDK, at a new reason
GEMINI, CHAT = "gemini-3.8-flash", "openai/some-model"
OK, TRUNCATED = "ok", "truncated"
MEASURED, ESTIMATED, UNKNOWN, NOTHING = "measured", "estimated", "unknown", "nothing"
SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}


@dataclass(frozen=True)
class Bench:
    models: Models
    admin: httpx.AsyncClient

    async def row(self, mark: str) -> dict[str, Any]:
        answer = await self.admin.get("/admin/ledger", params={"contains": mark})
        (row,) = answer.json()["items"]
        return dict(row)


@pytest_asyncio.fixture(scope="module")
async def bench() -> AsyncIterator[Bench]:
    async with serving(Settings(first_ms=0, chunk_ms=0)) as url:
        models = Models(Gemini("a-key", url), {"openai": OpenAICompatible("a-key", f"{url}/v1")})
        async with httpx.AsyncClient(base_url=url, trust_env=False) as admin:
            yield Bench(models, admin)
        await models.aclose()


async def called(bench: Bench, model: str, options: str, **more: Any) -> tuple[Call, str, str]:
    """The call, its code or how it was accepted, and how certain its usage is."""
    request = ModelRequest(model=model, prompt=f"Write. [[standin {options}]]", **more)
    call = Call(bench.models, request, Tier.PAYG, "text", 1)
    call.begin()
    if not await call.closed(2):
        call.abort()
        assert await call.closed(2)
        return call, "silent", ""
    try:
        if call.error is not None:
            raise call.error
        accepted = judged(request, call.answer)
    except ModelError as error:
        call.error = error if error.used else call.error
        said = error.code
    else:
        said = TRUNCATED if accepted.truncated else OK
    certain = call.usage[0].tokens.certainty.value if call.usage else NOTHING
    return call, said, certain


# options, then for Gemini and for an OpenAI-compatible endpoint: the code or acceptance, and the usage's certainty
CASES: list[tuple[str, tuple[str, str], tuple[str, str]]] = [
    ("words=20", (OK, MEASURED), (OK, MEASURED)),
    ("thoughts=30", (OK, MEASURED), (OK, MEASURED)),
    ("cached=5 tool=3", (OK, MEASURED), (OK, MEASURED)),
    ("fault=max_tokens", (TRUNCATED, MEASURED), (TRUNCATED, MEASURED)),
    ("fault=unknown_reason", (OK, MEASURED), (OK, MEASURED)),
    ("fault=empty_last", (OK, MEASURED), (OK, MEASURED)),
    ("usage=last", (OK, MEASURED), (OK, MEASURED)),
    ("usage=each", (OK, MEASURED), (OK, MEASURED)),
    ("usage=none", (OK, UNKNOWN), (OK, UNKNOWN)),
    *[
        (f"fault={name}", ("answer_blocked", MEASURED), ("answer_blocked", MEASURED))
        for name in ("safety", "recitation", "language", "blocklist", "prohibited_content", "spii")
    ],
    ("fault=safety after=0", ("answer_blocked", MEASURED), ("answer_blocked", MEASURED)),
    ("fault=prompt_blocked", ("prompt_blocked", MEASURED), ("prompt_blocked", NOTHING)),
    *[
        (f"fault=prompt_blocked reason={name}", ("prompt_blocked", MEASURED), ("prompt_blocked", NOTHING))
        for name in ("SAFETY", "OTHER", "BLOCKLIST", "JAILBREAK", "MODEL_ARMOR", "A_REASON_OF_NEXT_YEAR")
    ],
    *[
        (f"reason={name}", (OK, MEASURED), (OK, MEASURED))
        for name in ("OTHER", "MALFORMED_RESPONSE", "IMAGE_SAFETY", "FINISH_REASON_UNSPECIFIED", "TOOL_CALLS")
    ],
    ("fault=empty", ("no_content", MEASURED), ("no_content", MEASURED)),
    ("fault=empty reason=MALFORMED_FUNCTION_CALL", ("no_content", MEASURED), ("no_content", MEASURED)),
    ("fault=max_tokens_thoughts", ("token_limit", MEASURED), ("token_limit", MEASURED)),
    ("fault=no_finish", ("provider_unreachable", ESTIMATED), ("provider_unreachable", UNKNOWN)),
    ("fault=cut", ("provider_unreachable", ESTIMATED), ("provider_unreachable", UNKNOWN)),
    ("fault=cut after=0", ("provider_unreachable", UNKNOWN), ("provider_unreachable", UNKNOWN)),
    ("fault=cut usage=each", ("provider_unreachable", ESTIMATED), ("provider_unreachable", ESTIMATED)),
    ("fault=reset", ("provider_unreachable", ESTIMATED), ("provider_unreachable", UNKNOWN)),
    ("fault=error_in_stream", ("overloaded", ESTIMATED), ("overloaded", UNKNOWN)),
    ("fault=bad_json_line", ("provider_unreachable", ESTIMATED), ("provider_unreachable", UNKNOWN)),
    ("fault=comment_line", ("provider_unreachable", ESTIMATED), (OK, MEASURED)),
    ("fault=status_400", ("provider_refused", NOTHING), ("provider_refused", NOTHING)),
    ("fault=status_401", ("bad_api_key", NOTHING), ("bad_api_key", NOTHING)),
    ("fault=status_403", ("bad_api_key", NOTHING), ("bad_api_key", NOTHING)),
    ("fault=status_404", ("model_not_found", NOTHING), ("model_not_found", NOTHING)),
    ("fault=status_408", ("provider_unreachable", UNKNOWN), ("provider_unreachable", UNKNOWN)),
    ("fault=status_429", ("quota", NOTHING), ("quota", NOTHING)),
    ("fault=status_500", ("overloaded", NOTHING), ("overloaded", NOTHING)),
    ("fault=status_502", ("overloaded", NOTHING), ("overloaded", NOTHING)),
    ("fault=status_503", ("overloaded", NOTHING), ("overloaded", NOTHING)),
    ("fault=status_504", ("provider_unreachable", UNKNOWN), ("provider_unreachable", UNKNOWN)),
]
RETRIED = frozenset({"provider_unreachable", "overloaded", "quota"})


@pytest.mark.parametrize(("options", "gemini", "chat"), CASES)
async def test_each_ending_has_its_code_and_its_usage(
    bench: Bench, options: str, gemini: tuple[str, str], chat: tuple[str, str]
) -> None:
    for model, expected in ((GEMINI, gemini), (CHAT, chat)):
        mark = new_id()
        call, said, certain = await called(bench, model, options, system=mark)
        assert (said, certain) == expected, model
        row = await bench.row(mark)
        assert row["text_sent"].startswith(call.text)
        assert call.text == row["text_sent"] or "_line" in options
        if certain == MEASURED:
            tokens = {kind: getattr(call.usage[0].tokens, kind) for kind in row["tokens"].keys() | {"tool"}}
            sent = {**row["tokens"], "tool": 0, "total": row["tokens"]["total"] - row["tokens"]["tool"]}
            assert tokens == (row["tokens"] if model == GEMINI else sent)
        if call.error is not None:
            assert call.error.retryable == (said in RETRIED)
            assert "Try again later" in call.error.message or not call.error.retryable


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_a_delay_that_the_provider_names_is_honoured(bench: Bench, model: str) -> None:
    call, _, _ = await called(bench, model, "fault=status_429 delay_s=39")
    assert call.error is not None
    assert call.error.delay == 39


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_thoughts_are_no_text(bench: Bench, model: str) -> None:
    call, _, _ = await called(bench, model, "thoughts=50 words=8")
    assert "Considering" not in call.text
    assert call.usage[0].tokens.thoughts == 50


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_structured_output_is_asked_for_and_checked(bench: Bench, model: str) -> None:
    assert (await called(bench, model, "words=5", output_schema=SCHEMA))[1] == OK
    assert (await called(bench, model, "fault=broken_schema", output_schema=SCHEMA))[1] == "schema_mismatch"
    assert (await called(bench, model, "fault=truncated_json", output_schema=SCHEMA))[1] == "schema_mismatch"
    assert (await called(bench, model, "words=5", output_schema=SCHEMA, max_tokens=2))[1] == "token_limit"


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_a_conversation_goes_on_with_what_was_said(bench: Bench, model: str) -> None:
    mark = new_id()
    await called(bench, model, "words=5", system=mark, said="Once upon", then="Go on.")
    prompt = (await bench.row(mark))["prompt"]
    assert prompt.index("Write.") < prompt.index("Once upon") < prompt.index("Go on.")


@pytest.mark.parametrize("model", [GEMINI, CHAT])
@pytest.mark.parametrize("options", ["first_ms=60000", "fault=stall after=3", "chunk_ms=20 chunks=500"])
async def test_a_call_that_is_ended_closes_its_socket_at_once(bench: Bench, model: str, options: str) -> None:
    mark = new_id()
    request = ModelRequest(model=model, prompt=f"{mark} [[standin {options}]]")
    call = Call(bench.models, request, Tier.PAYG, "text", 1)
    call.begin()
    wanted = {"calls": 1} if "first" in options else {"streaming": 1}
    await bench.admin.get("/admin/wait", params={"contains": mark, "timeout": 5, **wanted})
    call.abort()
    assert await call.closed(2)
    await bench.admin.get("/admin/wait", params={"contains": mark, "timeout": 5, "closed": 1})
    row = await bench.row(mark)
    assert row["closed_by"] in ("client", "client_reset")
    assert call.text == row["text_sent"]


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_a_key_that_is_refused_is_named_as_the_cause(bench: Bench, model: str) -> None:
    url = str(bench.admin.base_url)
    models = Models(Gemini("bad-key", url), {"openai": OpenAICompatible("bad-key", f"{url}/v1")})
    call, said, _ = await called(Bench(models, bench.admin), model, "words=5")
    assert said == "bad_api_key"
    assert call.error is not None
    assert "bad-key" not in call.error.message
    await models.aclose()


@pytest.mark.parametrize("model", [GEMINI, CHAT])
async def test_nobody_at_the_address_is_unreachable_and_nothing_used(bench: Bench, model: str) -> None:
    url = "http://127.0.0.1:9"
    models = Models(Gemini("k", url), {"openai": OpenAICompatible(None, f"{url}/v1")})
    assert (await called(Bench(models, bench.admin), model, ""))[1:] == ("provider_unreachable", NOTHING)
    await models.aclose()


async def test_a_provider_that_is_not_configured_is_said_so(bench: Bench) -> None:
    models = Models(Gemini("k", str(bench.admin.base_url)), {})
    call, said, certain = await called(Bench(models, bench.admin), CHAT, "")
    assert (said, certain) == ("model_not_found", NOTHING)
    assert call.error is not None
    assert "openai" in call.error.message
    await models.aclose()


async def test_calls_of_both_providers_at_once_keep_apart(bench: Bench) -> None:
    found = await asyncio.gather(
        *(called(bench, model, f"words={n + 5}") for n in range(20) for model in (GEMINI, CHAT))
    )
    for call, said, _ in found:
        assert said == OK
        assert call.usage[0].model == call.request.model
        assert call.usage[0].tokens.certainty is Certainty.MEASURED
    assert [len(call.text.split()) for call, _, _ in found] == [n + 5 for n in range(20) for _ in (0, 1)]
