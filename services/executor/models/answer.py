"""Whether an answer is usable. Judged once, at the end of the stream, over all of it. Pure."""

import json
from dataclasses import dataclass

import jsonschema

from services.executor.models.provider import ModelError, ModelRequest
from shared.usage import Tokens

BLOCKED = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a whole stream said."""

    text: str
    model: str | None
    tokens: Tokens | None
    finish_reason: str | None
    block_reason: str | None
    response_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    text: str
    truncated: bool


def judge(request: ModelRequest, answer: Answer) -> Accepted:
    """Accepts whatever has usable content.

    Raises: ModelError, with the reason as its code.
    """
    if answer.block_reason is not None and not answer.text:
        raise ModelError(
            "prompt_blocked",
            f"Gemini refused the prompt ({answer.block_reason}). Change the input and try again.",
        )
    if answer.finish_reason in BLOCKED:
        raise ModelError(
            "answer_blocked",
            f"Gemini stopped its answer ({answer.finish_reason}). What it wrote is kept; change the input and try again.",
        )
    if answer.finish_reason is None:
        raise ModelError(
            "provider_unreachable", "The answer broke off before its end.", retryable=True, used=True
        )
    truncated = answer.finish_reason == "MAX_TOKENS"
    if not answer.text:
        raise _empty(truncated)
    if request.output_schema is not None:
        _check_schema(answer.text, request.output_schema, truncated)
    return Accepted(text=answer.text, truncated=truncated)


def _empty(truncated: bool) -> ModelError:
    if truncated:
        return ModelError(
            "token_limit",
            "All tokens went into thinking before a word was written. Raise max_tokens of this node.",
        )
    return ModelError("no_content", "Gemini answered with nothing at all. Change the prompt and try again.")


def _check_schema(text: str, schema: dict[str, object], truncated: bool) -> None:
    try:
        jsonschema.validate(json.loads(text), schema)
    except (ValueError, RecursionError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else str(error)
        if truncated:
            raise ModelError(
                "token_limit",
                "The structured answer was cut at the token limit. Raise max_tokens of this node.",
            ) from None
        raise ModelError(
            "schema_mismatch",
            f"The answer does not follow the node's output_schema: {reason[:300]}",
            retryable=True,
        ) from None
