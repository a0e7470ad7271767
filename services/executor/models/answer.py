"""Whether an answer is usable. Judged once, at the end of the stream, over all of it. Pure."""

from dataclasses import dataclass

from services.executor.models.names import brand_of
from services.executor.models.provider import Finish, ModelError, ModelRequest
from shared.usage import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a whole stream said; of a continued answer `text` begins with what the calls before had written."""

    text: str
    model: str | None
    tokens: Tokens | None
    finish: Finish | None
    finish_reason: str | None
    block_reason: str | None
    response_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    text: str
    truncated: bool


def judge(
    request: ModelRequest, answer: Answer, *, schema_fault: str | None, may_go_on: bool = False
) -> Accepted:
    """Accepts whatever has usable content. `may_go_on`: an answer that was cut will be continued; `schema_fault`: why its
    text does not follow the request's schema, None when it does or there is none.

    Raises: ModelError, with the reason as its code.
    """
    written = bool(answer.text.strip())
    _check_blocks(answer, brand_of(request.model).label, written)
    if answer.finish is None:
        raise ModelError(
            "provider_unreachable",
            "The answer broke off before its end. Try again later.",
            retryable=True,
            used=True,
        )
    truncated = answer.finish is Finish.TRUNCATED
    if not written:
        raise _empty(answer, brand_of(request.model).label)
    if schema_fault is not None and not (truncated and may_go_on):
        raise _broken(schema_fault, truncated)
    return Accepted(text=answer.text, truncated=truncated)


def _check_blocks(answer: Answer, who: str, written: bool) -> None:
    if answer.block_reason is not None and not written:
        raise ModelError(
            "prompt_blocked",
            f"{who} refused the prompt ({answer.block_reason}). Change the input and try again.",
        )
    reason = answer.finish_reason if answer.finish is Finish.BLOCKED else None
    if reason is None and answer.finish is None:
        reason = answer.block_reason
    if reason is not None:
        raise ModelError(
            "answer_blocked",
            f"{who} stopped its answer ({reason}). What it wrote is kept; change the input and try again.",
        )


def _empty(answer: Answer, who: str) -> ModelError:
    if answer.finish is Finish.TRUNCATED:
        return ModelError(
            "token_limit",
            "All tokens went into thinking before a word was written. Raise max_tokens of this node.",
        )
    why = "" if answer.finish is Finish.COMPLETE else f" ({answer.finish_reason})"
    return ModelError(
        "no_content", f"{who} answered with nothing at all{why}. Change the prompt and try again."
    )


def _broken(fault: str, truncated: bool) -> ModelError:
    if truncated:
        return ModelError(
            "token_limit",
            "The structured answer was cut at the token limit. Raise max_tokens of this node.",
        )
    return ModelError(
        "schema_mismatch",
        f"The answer does not follow the node's output_schema: {fault[:300]}. Simplify the schema, or say in "
        "the prompt what is meant.",
        retryable=True,
    )
