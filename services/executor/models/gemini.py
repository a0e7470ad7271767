"""Gemini through google-genai. Nothing else in the project imports that SDK."""

import contextlib
import functools
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from services.executor.models.provider import Caller, ModelError, ModelRequest, Piece
from shared.model_listing import ListedModel, ModelListing
from shared.usage import Tokens

API_VERSION = "v1beta"
"""Several models exist only there; the SDK's own default is another."""
CONNECT_SECONDS = 10.0
_caller: ContextVar[Caller] = ContextVar("caller")
RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})


class Gemini:
    """One client for the whole process. The HTTP client is ours, so that the transport never depends on what else
    is installed, and no other layer retries or calls functions on its own: one request is one bill.
    """

    name = "gcp.gemini"

    def __init__(
        self, api_key: str, base_url: str | None = None, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
            event_hooks={"response": [_answered]},
            transport=transport,
        )
        options = types.HttpOptions(api_version=API_VERSION, httpx_async_client=self._http, base_url=base_url)
        self._client = genai.Client(api_key=api_key, http_options=options)

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        _caller.set(caller)
        try:
            chunks = await self._client.aio.models.generate_content_stream(
                model=request.model, contents=request.prompt, config=_config(request)
            )
            async for chunk in chunks:
                caller.receive(_piece(chunk))
        except errors.APIError as error:
            raise api_error(error, request.model) from error
        except (httpx2.TransportError, errors.UnknownApiResponseError, ValueError) as error:
            raise ModelError(
                "provider_unreachable",
                f"The connection to Gemini broke ({type(error).__name__}). It is tried again automatically.",
                retryable=True,
                used=not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout),
            ) from error

    async def list_models(self) -> ModelListing:
        """What the API offers to this key. Raises: ModelError."""
        try:
            found = [_listed(model) async for model in await self._client.aio.models.list()]
            return ModelListing(providers=("gemini",), models=tuple(found))
        except errors.APIError as error:
            raise api_error(error, "list") from error
        except (httpx2.TransportError, errors.UnknownApiResponseError, ValueError) as error:
            raise ModelError(
                "provider_unreachable", f"Gemini gave no list of its models ({type(error).__name__})."
            ) from error

    async def aclose(self) -> None:
        await self._http.aclose()


async def rehearse() -> None:
    """Runs one call against an answer made here, so that the first real one does not wait for the SDK to build its
    types (a third of a second).
    """

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=_REHEARSED)

    class Nobody:
        def receive(self, piece: Piece) -> None: ...

        def connected(self, hang_up: Callable[[], None]) -> None: ...

    gemini = Gemini("rehearsal", "http://rehearsal.invalid", httpx2.MockTransport(answer))
    await gemini.stream(
        ModelRequest(model="rehearsal", prompt="x", output_schema={"type": "object"}), Nobody()
    )
    await gemini.aclose()


_REHEARSED = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "x"}], "role": "model"}, "index": 0, "finishReason": "STOP"}],'
    b' "usageMetadata": {"promptTokenCount": 1}, "modelVersion": "x", "responseId": "x"}\r\n\r\n'
)


async def _answered(response: httpx2.Response) -> None:
    """Tells the caller whose task this is how to hang up."""
    caller, stream = _caller.get(None), response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if caller is not None and connection is not None:
        caller.connected(functools.partial(_hang_up, connection))


def _hang_up(connection: socket.socket) -> None:
    """Sends the end of our side. The transport, which owns the descriptor, is left to close it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.shutdown(socket.SHUT_WR)


def _listed(model: types.Model) -> ListedModel:
    return ListedModel(
        name=(model.name or "").removeprefix("models/"),
        input_limit=model.input_token_limit,
        output_limit=model.output_token_limit,
        methods=tuple(model.supported_actions or ()),
        thinking=bool(model.thinking),
    )


def _config(request: ModelRequest) -> types.GenerateContentConfig:
    config = types.GenerateContentConfig(
        system_instruction=request.system,
        temperature=request.temperature,
        max_output_tokens=request.max_tokens,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    if request.thinking is not None:
        config.thinking_config = types.ThinkingConfig(
            thinking_level=types.ThinkingLevel(request.thinking.upper())
        )
    if request.output_schema is not None:
        config.response_mime_type = "application/json"
        config.response_json_schema = request.output_schema
    return config


def _piece(chunk: types.GenerateContentResponse) -> Piece:
    candidate = chunk.candidates[0] if chunk.candidates else None
    parts = (candidate.content.parts if candidate and candidate.content else None) or []
    feedback = chunk.prompt_feedback
    return Piece(
        text="".join(part.text for part in parts if part.text and not part.thought),
        tokens=tokens_of(chunk.usage_metadata),
        model=chunk.model_version,
        response_id=chunk.response_id,
        finish_reason=_name(candidate.finish_reason) if candidate else None,
        block_reason=_name(feedback.block_reason) if feedback else None,
    )


def _name(value: Any) -> str | None:
    """The wire name of an enum member, also of one that this SDK does not know."""
    return None if value is None else str(getattr(value, "value", value))


def tokens_of(usage: types.GenerateContentResponseUsageMetadata | None) -> Tokens | None:
    """Counts as the provider means them: the prompt includes what was cached, the output has no thoughts in it."""
    if usage is None:
        return None
    return Tokens(
        input=usage.prompt_token_count or 0,
        cached=usage.cached_content_token_count or 0,
        output=usage.candidates_token_count or 0,
        thoughts=usage.thoughts_token_count or 0,
        tool=usage.tool_use_prompt_token_count or 0,
    )


def api_error(error: errors.APIError, model: str) -> ModelError:
    """The provider's error as a code and a text that says what to do."""
    body = error.details if isinstance(error.details, dict) else {}
    info = body.get("error", body)
    details = [d for d in info.get("details", []) if isinstance(d, dict)] if isinstance(info, dict) else []
    code = error.code or 0
    match code:
        case 400 | 401 | 403 if any(d.get("reason") == "API_KEY_INVALID" for d in details) or code == 401:
            return ModelError(
                "bad_api_key", "Gemini refuses the API key. Ask an administrator to set a valid one."
            )
        case 404:
            return ModelError(
                "model_not_found", f"Gemini has no model {model} on {API_VERSION}. Choose another model."
            )
        case 429:
            return ModelError(
                "quota",
                "Gemini's quota is used up for now. Try again later.",
                retryable=True,
                delay=_delay(details),
            )
        case 503:
            return ModelError(
                "overloaded",
                "Gemini is overloaded at the moment. Try again later.",
                retryable=True,
                delay=_delay(details),
            )
        case _ if code in RETRYABLE:
            return ModelError("provider_error", f"Gemini answered {code}. Try again later.", retryable=True)
        case _:
            return ModelError("provider_refused", f"Gemini refused the request ({code}): {error.message}")


def _delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of `RetryInfo.retryDelay`, which comes as "39s"."""
    for detail in details:
        text = str(detail.get("retryDelay", ""))
        try:
            return float(text.removesuffix("s"))
        except ValueError:
            continue
    return None
