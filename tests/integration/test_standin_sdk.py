"""The stand-in as the real SDK sees it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import httpx2
import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from deploy.local.standin.server import serving
from deploy.local.standin.settings import Settings

PROMPT = "Write a chapter titled “Low Tide” about the harbours of the north."


@dataclass(frozen=True)
class Bench:
    models: genai.models.AsyncModels
    admin: httpx.AsyncClient


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with serving(Settings(first_ms=0, chunk_ms=1)) as url, httpx2.AsyncClient() as transport:
        options = types.HttpOptions(
            base_url=url, api_version="v1beta", httpx_async_client=transport, timeout=10_000
        )
        client = genai.Client(api_key="a-key-for-tests", http_options=options)
        async with httpx.AsyncClient(base_url=url) as admin:
            yield Bench(client.aio.models, admin)


class Chapter(BaseModel):
    title: str
    summary: str


class Outline(BaseModel):
    title: str
    chapters: list[Chapter]


async def test_a_stream(bench: Bench) -> None:
    stream = await bench.models.generate_content_stream(model="gemini-3.8-flash+words=50", contents=PROMPT)
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.text or "" for chunk in chunks)
    assert len(text.split()) == 50
    assert "Low Tide" in text
    usage = chunks[-1].usage_metadata
    assert usage is not None
    (call,) = (await bench.admin.get("/admin/ledger")).json()["items"]
    assert (call["text_sent"], call["id"]) == (text, chunks[0].response_id)
    assert (call["tokens"]["output"], call["tokens"]["total"]) == (
        usage.candidates_token_count,
        usage.total_token_count,
    )


@pytest.mark.parametrize("field", ["response_schema", "response_json_schema"])
async def test_structured_output(bench: Bench, field: str) -> None:
    schema = Outline if field == "response_schema" else Outline.model_json_schema()
    config = types.GenerateContentConfig.model_validate(
        {"response_mime_type": "application/json", field: schema}
    )
    stream = await bench.models.generate_content_stream(
        model="gemini-3.8-flash",
        contents="Plan a short book about lighthouses with 4 chapters",
        config=config,
    )
    outline = Outline.model_validate_json("".join([chunk.text or "" async for chunk in stream]))
    assert outline.title == "Lighthouses"
    assert len(outline.chapters) == 4


async def test_an_answer_in_one_piece_counting_and_models(bench: Bench) -> None:
    answer = await bench.models.generate_content(model="pro", contents=PROMPT)
    assert answer.model_version == "gemini-3.1-pro-preview"
    assert answer.text
    counted = await bench.models.count_tokens(model="pro", contents=PROMPT)
    assert answer.usage_metadata is not None
    assert counted.total_tokens == answer.usage_metadata.prompt_token_count
    assert (await bench.models.get(model="gemini-3.8-flash")).input_token_limit == 1_048_576
    listed = await bench.models.list()
    assert "models/gemini-3.8-flash" in {model.name for model in listed.page}


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
async def test_refusals_are_the_sdk_s_errors(bench: Bench, status: int) -> None:
    stream = await bench.models.generate_content_stream(model=f"flash+fault=status_{status}", contents=PROMPT)
    with pytest.raises(errors.APIError) as caught:
        await anext(stream)  # the SDK sends the request only now
    assert caught.value.code == status
    assert isinstance(caught.value, errors.ClientError if status < 500 else errors.ServerError)


async def test_a_cut_stream_is_a_transport_error(bench: Bench) -> None:
    stream = await bench.models.generate_content_stream(model="flash+fault=cut,after=2", contents=PROMPT)
    with pytest.raises(httpx2.TransportError):
        async for _ in stream:
            pass


async def test_an_error_in_the_stream_is_an_api_error(bench: Bench) -> None:
    stream = await bench.models.generate_content_stream(model="flash+fault=error_in_stream", contents=PROMPT)
    with pytest.raises(errors.ServerError):
        async for _ in stream:
            pass


@pytest.mark.parametrize("fault", ["comment_line", "bad_json_line"])
async def test_a_line_out_of_format_is_a_value_error(bench: Bench, fault: str) -> None:
    stream = await bench.models.generate_content_stream(model=f"flash+fault={fault}", contents=PROMPT)
    with pytest.raises(ValueError):
        async for _ in stream:
            pass


async def test_an_empty_answer_has_no_text(bench: Bench) -> None:
    stream = await bench.models.generate_content_stream(model="flash+fault=empty", contents=PROMPT)
    assert [chunk.text async for chunk in stream] == [None]


async def test_a_blocked_prompt_says_why(bench: Bench) -> None:
    stream = await bench.models.generate_content_stream(model="flash+fault=prompt_blocked", contents=PROMPT)
    (chunk,) = [chunk async for chunk in stream]
    assert chunk.prompt_feedback is not None
    assert chunk.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


async def test_a_cancelled_stream_is_closed_by_the_client_at_once(bench: Bench) -> None:
    texts: list[str] = []
    third = asyncio.Event()

    async def pump() -> None:
        model = "gemini-3.8-flash+chunk_ms=20,chunks=500,words=2000"
        async for chunk in await bench.models.generate_content_stream(model=model, contents=PROMPT):
            texts.append(chunk.text or "")
            if len(texts) == 3:
                third.set()

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pump())
        await third.wait()
        task.cancel()
        cancelled_ns = time.time_ns()
    await bench.admin.get("/admin/wait", params={"closed": 1, "timeout": 5})
    (call,) = (await bench.admin.get("/admin/ledger")).json()["items"]
    assert call["closed_by"] in ("client", "client_reset")
    assert (call["closed_ns"] - cancelled_ns) / 1e6 < 500
    assert call["text_sent"].startswith("".join(texts))
    assert 3 <= call["chunks_sent"] < 50
    assert call["usage"]["candidatesTokenCount"] == (len(call["text_sent"]) + 3) // 4


async def test_the_other_format_is_read_by_its_own_sdk(bench: Bench) -> None:
    async with openai.AsyncOpenAI(api_key="a-key", base_url=f"{bench.admin.base_url}/v1") as client:
        assert "gemini-3.8-flash" in {model.id for model in (await client.models.list()).data}
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="llama+words=12",
                messages=[{"role": "user", "content": PROMPT}],
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    (call,) = (await bench.admin.get("/admin/ledger")).json()["items"]
    assert (call["text_sent"], call["model"], call["method"]) == (text, "llama", "chat.completions")
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == call["tokens"]["total"]


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (429, "rate_limit_exceeded")])
async def test_refusals_in_the_other_format_are_its_sdk_s_errors(
    bench: Bench, status: int, code: str
) -> None:
    async with openai.AsyncOpenAI(
        api_key="k", base_url=f"{bench.admin.base_url}/v1", max_retries=0
    ) as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(
                model=f"llama+fault=status_{status}",
                messages=[{"role": "user", "content": PROMPT}],
                stream=True,
            )
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert ("retry-after" in caught.value.response.headers) == (status == 429)
