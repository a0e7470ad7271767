"""Errors of the providers as codes; what comes inside of a stream that had begun may have cost something."""

import httpx2
import openai
import pytest
from google.genai import errors

from services.executor.models.gemini import api_error
from services.executor.models.openai_compatible import status_error, stream_error
from services.executor.models.provider import ModelError

REQUEST = httpx2.Request("POST", "http://endpoint.invalid")


def in_stream(**body: object) -> ModelError:
    return stream_error(openai.APIError("x", REQUEST, body=body), "m")


@pytest.mark.parametrize(
    ("body", "code", "retryable"),
    [
        ({"code": "429"}, "quota", True),
        ({"code": 429}, "quota", True),
        ({"code": "rate_limit_exceeded"}, "quota", True),
        ({"code": "insufficient_quota"}, "quota", False),
        ({"code": "context_length_exceeded"}, "token_limit", False),
        ({"code": "content_filter"}, "prompt_blocked", False),
        ({"code": "model_not_found"}, "model_not_found", False),
        ({"code": 400}, "provider_refused", False),
        ({"type": "invalid_request_error"}, "provider_refused", False),
        ({"code": 503}, "overloaded", True),
        ({"type": "server_error"}, "overloaded", True),
        ({}, "overloaded", True),
    ],
)
def test_an_error_inside_of_a_stream_has_the_code_of_its_status_and_may_have_cost_something(
    body: dict[str, object], code: str, retryable: bool
) -> None:
    error = in_stream(**body)
    assert (error.code, error.retryable) == (code, retryable)
    assert error.used
    assert not error.free


@pytest.mark.parametrize(
    ("status", "free"), [(429, True), (500, False), (502, True), (503, True), (504, False)]
)
def test_a_refusal_before_any_work_costs_nothing_but_a_500_has_an_end(status: int, free: bool) -> None:
    body = {"error": {"code": status, "message": "x"}}
    response = httpx2.Response(status, request=REQUEST, json=body)
    assert api_error(errors.APIError(status, body, response), "m").free == free
    assert status_error(openai.APIStatusError("x", response=response, body=body), "m").free == free


@pytest.mark.parametrize("status", [429, 500, 503])
def test_gemini_s_error_inside_of_a_stream_may_have_cost_something(status: int) -> None:
    error = api_error(errors.APIError(status, {"error": {"code": status, "message": "x"}}), "m")
    assert error.retryable
    assert error.used
    assert not error.free
