"""Refusals, with the bodies of the Gemini API."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.standin.options import Options
from shared.errors import Permanent

_DOMAIN = "googleapis.com"
_SERVICE = "generativelanguage.googleapis.com"


@dataclass(frozen=True, slots=True)
class Problem:
    code: int
    status: str
    message: str
    details: tuple[Mapping[str, object], ...] = ()

    def body(self) -> dict[str, object]:
        error: dict[str, object] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


class Refused(Permanent):
    """The call can not be answered; `problem` is what to say."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def invalid(message: str) -> Problem:
    return Problem(400, "INVALID_ARGUMENT", message)


def bad_key() -> Problem:
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": _DOMAIN,
        "metadata": {"service": _SERVICE},
    }
    note = {
        "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
        "locale": "en-US",
        "message": "API key not valid. Please pass a valid API key.",
    }
    return Problem(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", (info, note))


def unknown_model(model: str, version: str, method: str) -> Problem:
    return Problem(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods.",
    )


def exhausted(model: str, delay_s: float) -> Problem:
    """A 429; the delay is written as the API does, whole seconds without a fraction."""
    delay = f"{math.floor(delay_s)}s" if delay_s == math.floor(delay_s) else f"{delay_s:g}s"
    violation = {
        "quotaMetric": f"{_SERVICE}/generate_content_free_tier_requests",
        "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": "10",
    }
    return Problem(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. "
        f"Please retry in {delay}.",
        (
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ),
    )


def overloaded() -> Problem:
    return Problem(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")


def for_status(status: int, model: str, version: str, method: str, options: Options) -> Problem:
    """The refusal that a fault `status_NNN` asks for."""
    match status:
        case 401:
            return Problem(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        case 403:
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "CONSUMER_SUSPENDED",
                "domain": _DOMAIN,
                "metadata": {"service": _SERVICE},
            }
            return Problem(
                403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.", (info,)
            )
        case 404:
            return unknown_model(model, version, method)
        case 429:
            return exhausted(model, options.delay_s)
        case 500:
            return Problem(
                500,
                "INTERNAL",
                "An internal error has occurred. Please retry or report in "
                "https://developers.generativeai.google/guide/troubleshooting",
            )
        case 502:
            return Problem(502, "INTERNAL", "The server encountered a temporary error.")
        case 503:
            return overloaded()
        case 408 | 504:
            return Problem(status, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.")
        case _:
            return invalid("Request contains an invalid argument.")


def broken_json(reason: str) -> Problem:
    return invalid(f"Invalid JSON payload received. {reason}")


def missing_contents() -> Problem:
    return invalid("* GenerateContentRequest.contents: contents is not specified\n")
