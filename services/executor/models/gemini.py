"""Gemini through google-genai. Nothing else in the project imports that SDK."""

from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

from services.executor.models import transport
from services.executor.models.provider import Caller, Finish, ModelError, ModelRequest, Piece
from services.executor.models.transport import called_by, http_client, never_sent
from shared.model_listing import ListedModel, ModelListing
from shared.usage import Tokens

API_VERSION = "v1beta"
"""Several models exist only there; the SDK's own default is another."""
FINISHES = {
    "STOP": Finish.COMPLETE,
    "MAX_TOKENS": Finish.TRUNCATED,
    "CONTINUATION": Finish.TRUNCATED,
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
        Finish.BLOCKED,
    ),
}
"""Every other reason, known or not, says nothing against the text."""


class Gemini:
    """One client for the whole process. No other layer retries or calls functions on its own: one request is one
    bill.
    """

    def __init__(
        self, api_key: str, base_url: str | None = None, via: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._http = http_client(via)
        options = types.HttpOptions(api_version=API_VERSION, httpx_async_client=self._http, base_url=base_url)
        self._client = genai.Client(api_key=api_key, http_options=options)

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        called_by(caller)
        config = _config(request)
        try:
            chunks = await self._client.aio.models.generate_content_stream(
                model=request.model, contents=_contents(request), config=config
            )
            async for chunk in chunks:
                caller.receive(_piece(chunk))
        except errors.APIError as error:
            raise api_error(error, request.model) from error
        except (
            httpx2.HTTPError,
            httpx2.StreamError,
            errors.UnknownApiResponseError,
            TypeError,
            ValueError,
        ) as error:
            raise ModelError(
                "provider_unreachable",
                f"The connection to Gemini broke ({type(error).__name__}). Try again later.",
                retryable=True,
                used=not never_sent(error),
            ) from error

    async def list_models(self) -> ModelListing:
        """What the API offers to this key. Raises: ModelError."""
        try:
            found = [_listed(model) async for model in await self._client.aio.models.list()]
            return ModelListing(providers=("gemini",), models=tuple(found))
        except errors.APIError as error:
            raise api_error(error, "list") from error
        except (httpx2.HTTPError, errors.UnknownApiResponseError, ValueError) as error:
            raise ModelError(
                "provider_unreachable", f"Gemini gave no list of its models ({type(error).__name__})."
            ) from error

    async def aclose(self) -> None:
        await self._http.aclose()


async def rehearse() -> None:
    await transport.rehearse(lambda made: Gemini("rehearsal", "http://rehearsal.invalid", made), _REHEARSED)


_REHEARSED = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "x"}], "role": "model"}, "index": 0, "finishReason": "STOP"}],'
    b' "usageMetadata": {"promptTokenCount": 1}, "modelVersion": "x", "responseId": "x"}\r\n\r\n'
)


def _contents(request: ModelRequest) -> types.ContentListUnion:
    if not request.then:
        return request.prompt
    turns = (("user", request.prompt), ("model", request.said), ("user", request.then))
    return [types.Content(role=role, parts=[types.Part(text=text)]) for role, text in turns]


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
    reason = _name(candidate.finish_reason) if candidate else None
    return Piece(
        text="".join(part.text for part in parts if part.text and not part.thought),
        tokens=tokens_of(chunk.usage_metadata),
        model=chunk.model_version,
        response_id=chunk.response_id,
        finish=FINISHES.get(reason, Finish.OTHER) if reason else None,
        finish_reason=reason,
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
    made = _by_code(error, model)
    if getattr(error.response, "status_code", 200) == 200:  # inside of a stream that had begun well
        made.has_cost()
    return made


def _by_code(error: errors.APIError, model: str) -> ModelError:
    body = error.details if isinstance(error.details, dict) else {}
    info = body.get("error", body)
    given = info.get("details") if isinstance(info, dict) else None
    details = [d for d in given if isinstance(d, dict)] if isinstance(given, list) else []
    code = error.code or 0
    match code:
        case 401 | 403:
            return _bad_key(code)
        case 400 if any(d.get("reason") == "API_KEY_INVALID" for d in details):
            return _bad_key(code)
        case 400 if "token count" in str(error.message) and "exceeds" in str(error.message):
            return ModelError("token_limit", f"The prompt is too long for {model}. Shorten the input.")
        case 404:
            return ModelError(
                "model_not_found", f"Gemini has no model {model} on {API_VERSION}. Choose another model."
            )
        case 429:
            text = "Gemini's quota is used up for now. Try again later, or ask an administrator to raise it."
            return ModelError("quota", text, retryable=True, delay=_delay(details, error), free=True)
        case 500 | 502 | 503:
            text = f"Gemini is overloaded or in trouble at the moment ({code}). Try again later."
            free = code != 500  # which a prompt may cause, each time
            return ModelError("overloaded", text, retryable=True, delay=_delay(details, error), free=free)
        case 408 | 504:
            text = f"Gemini did not answer in time ({code}). Try again later."
            return ModelError("provider_unreachable", text, retryable=True, used=True)
        case _:
            return ModelError("provider_refused", f"Gemini refused the request ({code}): {error.message}")


def _bad_key(code: int) -> ModelError:
    text = (
        f"Gemini refuses the API key ({code}). Ask an administrator to set one that is valid and may use it."
    )
    return ModelError("bad_api_key", text)


def _delay(details: list[dict[str, Any]], error: errors.APIError) -> float | None:
    """Seconds of `RetryInfo.retryDelay`, which comes as "39s"; else of the header Retry-After."""
    headers = getattr(error.response, "headers", None) or {}
    told = [str(d["retryDelay"]).removesuffix("s") for d in details if "retryDelay" in d]
    for text in (*told, str(headers.get("retry-after", ""))):
        try:
            return max(0.0, float(text))
        except ValueError:
            continue
    return None
