"""Any endpoint that speaks OpenAI's chat completions: OpenAI, Ollama, vLLM and others. Nothing else imports that SDK."""

from typing import Any

import httpx2
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk

from services.executor.models import transport
from services.executor.models.names import OPENAI_PREFIX
from services.executor.models.provider import Caller, Finish, ModelError, ModelRequest, Piece
from services.executor.models.transport import called_by, http_client, never_sent
from shared.model_listing import ListedModel, ModelListing
from shared.usage import Tokens

OPENAI_URL = "https://api.openai.com/v1"
FINISHES = {
    "stop": Finish.COMPLETE,
    "length": Finish.TRUNCATED,
    "content_filter": Finish.BLOCKED,
}
"""Every other reason, known or not, says nothing against the text."""
REFUSAL = "refusal"
"""Our word for a model that says in a field of its own that it will not answer."""
FILTERED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
SPENT = "insufficient_quota"
"""No money is left: waiting does not help."""
TOO_LONG = "context_length_exceeded"
UNKNOWN_MODEL = "model_not_found"
PERMANENT = FILTERED | {TOO_LONG, UNKNOWN_MODEL, "invalid_prompt"}
"""Codes of errors that the same request will meet again, beside those of the type INVALID."""
INVALID = "invalid_request_error"


class OpenAICompatible:
    """One client for the whole process. The SDK's own retries are off: one request is one bill."""

    def __init__(
        self,
        api_key: str | None,
        base_url: str | None = None,
        via: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Without a key one is sent that says nothing, for endpoints that need none."""
        self._url = base_url or OPENAI_URL
        self._http = http_client(via)
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none", base_url=self._url, http_client=self._http, max_retries=0
        )

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        called_by(caller)
        refused = False
        try:
            chunks = await self._client.chat.completions.create(**_parameters(request, self._url))
            async for chunk in chunks:
                piece, refuses = _piece(chunk, refused=refused)
                refused = refused or refuses
                caller.receive(piece)
        except openai.APIStatusError as error:
            raise status_error(error, request.model) from error
        except openai.APIConnectionError as error:
            raise _broken(error.__cause__ or error) from error
        except openai.APIError as error:
            raise stream_error(error, request.model) from error
        except (httpx2.HTTPError, httpx2.StreamError, ValueError, TypeError) as error:
            raise _broken(error) from error

    async def list_models(self) -> ModelListing:
        """Raises: ModelError."""
        try:
            names = [f"{OPENAI_PREFIX}/{model.id}" async for model in self._client.models.list()]
        except openai.APIStatusError as error:
            raise status_error(error, "list") from error
        except (openai.APIError, httpx2.HTTPError, ValueError, TypeError) as error:
            raise _broken(error.__cause__ or error) from error
        return ModelListing(
            providers=(OPENAI_PREFIX,), models=tuple(ListedModel(name=name) for name in names)
        )

    async def aclose(self) -> None:
        await self._http.aclose()


async def rehearse() -> None:
    await transport.rehearse(
        lambda made: OpenAICompatible("rehearsal", "http://rehearsal.invalid", made), _REHEARSED
    )


_REHEARSED = (
    b'data: {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "x", "choices": [{"index": 0,'
    b' "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1,'
    b' "total_tokens": 2}}\n\ndata: [DONE]\n\n'
)


def _parameters(request: ModelRequest, url: str) -> dict[str, Any]:
    """Only what is set: many endpoints refuse fields that they do not know."""
    messages = [{"role": "user", "content": request.prompt}]
    if request.system is not None:
        messages.insert(0, {"role": "system", "content": request.system})
    if request.then:
        messages += [
            {"role": "assistant", "content": request.said},
            {"role": "user", "content": request.then},
        ]
    given: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.temperature is not None:
        given["temperature"] = request.temperature
    if request.max_tokens is not None:
        # OpenAI itself takes only the new name for its newer models, others often know only the old one.
        given["max_completion_tokens" if url == OPENAI_URL else "max_tokens"] = request.max_tokens
    if request.thinking is not None:
        given["reasoning_effort"] = request.thinking
    if request.output_schema is not None:
        schema = {"name": "answer", "schema": request.output_schema}
        given["response_format"] = {"type": "json_schema", "json_schema": schema}
    return given


def _piece(chunk: ChatCompletionChunk, *, refused: bool) -> tuple[Piece, bool]:
    """The piece, and whether the model refuses in it. The SDK checks nothing: any field may be missing.

    Thoughts come in fields of their own (`reasoning`, `reasoning_content`), which are not read.
    """
    choice = chunk.choices[0] if chunk.choices else None
    delta = choice.delta if choice is not None else None
    refused = refused or bool(delta is not None and delta.refusal)
    reason: str | None = choice.finish_reason if choice is not None else None
    if reason == "stop" and refused:
        reason = REFUSAL
    piece = Piece(
        text=(delta.content or "") if delta is not None else "",
        tokens=tokens_of(chunk.usage),
        model=f"{OPENAI_PREFIX}/{chunk.model}" if chunk.model else None,
        response_id=chunk.id,
        finish=_finish(reason) if reason else None,
        finish_reason=reason,
    )
    return piece, refused


def _finish(reason: str) -> Finish:
    return Finish.BLOCKED if reason == REFUSAL else FINISHES.get(reason, Finish.OTHER)


def tokens_of(usage: CompletionUsage | None) -> Tokens | None:
    """Counts as they are meant here: the endpoint's output includes thoughts, ours does not."""
    if usage is None:
        return None
    details, prompt = usage.completion_tokens_details, usage.prompt_tokens_details
    thoughts = (details.reasoning_tokens or 0) if details is not None else 0
    output = usage.completion_tokens or 0
    return Tokens(
        input=usage.prompt_tokens or 0,
        cached=(prompt.cached_tokens or 0) if prompt is not None else 0,
        output=max(0, output - thoughts),
        thoughts=min(thoughts, output),
    )


def status_error(error: openai.APIStatusError, model: str) -> ModelError:
    """The endpoint's error as a code and a text that says what to do."""
    return _by_status(error.status_code, error, model, _delay(error))


def stream_error(error: openai.APIError, model: str) -> ModelError:
    """An error that came inside of a stream that had begun well: by its code, a number or a word, as by a status."""
    made = _by_status(_status_of(error), error, model, None)
    made.has_cost()
    return made


def _status_of(error: openai.APIError) -> int:
    code = error.code
    if code is not None and code.isdecimal():
        return int(code)
    if code in ("rate_limit_exceeded", SPENT):
        return 429
    if code in PERMANENT or error.type == INVALID:
        return 400
    return 500


def _by_status(status: int, error: openai.APIError, model: str, delay: float | None) -> ModelError:
    match status:
        case 401 | 403:
            text = f"The OpenAI-compatible endpoint refuses the API key ({status}). Ask an administrator to set a valid one."
            return ModelError("bad_api_key", text)
        case 404:
            return ModelError(
                "model_not_found",
                f"The OpenAI-compatible endpoint has no model {model}. Choose another model.",
            )
        case 429:
            return _quota(error.code, delay)
        case 500 | 502 | 503 | 529:
            text = f"The OpenAI-compatible endpoint is overloaded or in trouble ({status}). Try again later."
            free = status != 500  # which a prompt may cause, each time
            return ModelError("overloaded", text, retryable=True, delay=delay, free=free)
        case 408 | 504:
            text = f"The OpenAI-compatible endpoint did not answer in time ({status}). Try again later."
            return ModelError("provider_unreachable", text, retryable=True, used=True)
        case _:
            return _refusal(error.code, str(error.message), model, status)


def _refusal(code: str | None, message: str, model: str, status: int) -> ModelError:
    if code in FILTERED:
        text = f"The OpenAI-compatible endpoint refused the prompt ({code}). Change the input and try again."
        return ModelError("prompt_blocked", text)
    if code == TOO_LONG:
        return ModelError("token_limit", f"The prompt is too long for {model}. Shorten the input.")
    if code == UNKNOWN_MODEL:
        text = f"The OpenAI-compatible endpoint has no model {model}. Choose another model."
        return ModelError("model_not_found", text)
    text = f"The OpenAI-compatible endpoint refused the request ({status}): {message[:500]}"
    return ModelError("provider_refused", text)


def _quota(code: str | None, delay: float | None) -> ModelError:
    if code == SPENT:
        text = "The account at the OpenAI-compatible endpoint has no credit left. Ask an administrator to add some."
        return ModelError("quota", text)
    text = "The quota at the OpenAI-compatible endpoint is used up for now. Try again later."
    return ModelError("quota", text, retryable=True, delay=delay, free=True)


def _broken(error: BaseException) -> ModelError:
    return ModelError(
        "provider_unreachable",
        f"The connection to the OpenAI-compatible endpoint broke ({type(error).__name__}). Try again later.",
        retryable=True,
        used=not never_sent(error),
    )


def _delay(error: openai.APIStatusError) -> float | None:
    """Seconds of the headers `retry-after-ms` or `retry-after`."""
    headers = error.response.headers
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return max(0.0, float(headers.get(name, "")) / unit)
        except ValueError:
            continue
    return None
