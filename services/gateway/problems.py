"""Errors as people and programs get them: `application/problem+json` (RFC 9457) with a stable `code`.

Raise `Problem` from a route; every other error that can leave one is turned into a problem here, never with internals.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from nats.errors import Error as NatsError
from starlette.exceptions import HTTPException

from shared.artifacts import ArtifactGone
from shared.errors import LekhikaError, LogFull, Permanent, Unavailable, UnknownEvent
from shared.field_words import told

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of the input. `field` is a path such as `input.topic` or `nodes.0.prompt`."""

    field: str
    detail: str


class Problem(LekhikaError):
    """The answer to a request that can not be done. `extra` members stand beside those of the standard."""

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str,
        errors: Sequence[FieldError] = (),
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": f"urn:lekhika:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.errors:
            body["errors"] = [asdict(error) for error in self.errors]
        return Response(
            orjson.dumps({**body, **self.extra}),
            self.status,
            {"Cache-Control": "no-store", **self.headers},
            MEDIA_TYPE,
        )


def too_many(code: str, detail: str, wait: float) -> Problem:
    """429; `wait` in seconds."""
    seconds = str(math.ceil(wait))
    detail = f"{detail} Try again in {seconds} s."
    return Problem(429, code, "Too many requests", detail, headers={"Retry-After": seconds})


def invalid(detail: str, errors: Sequence[FieldError], code: str = "invalid_request") -> Problem:
    """422: the request was understood, and these fields of it are wrong."""
    return Problem(422, code, "The request is not valid", detail, errors)


def unavailable(detail: str) -> Problem:
    return Problem(
        503, "unavailable", "Not available at the moment", detail, headers={"Retry-After": str(RETRY_SECONDS)}
    )


def unreadable(detail: str) -> Problem:
    """The history is of another release; a rollout may be under way."""
    title = "The history can not be read"
    return Problem(503, "history_unreadable", title, detail, headers={"Retry-After": "60"})


def internal() -> Problem:
    return Problem(500, "internal_error", "Something went wrong", "The error was logged; please try again.")


def install(app: FastAPI) -> None:
    """Turns everything that routes and the framework raise into problems."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(LogFull, _log_full)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Permanent, _permanent)
    app.add_exception_handler(NatsError, _nats)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [
        FieldError(".".join(str(part) for part in e["loc"][1:]) or "body", told(e)) for e in error.errors()
    ]
    return invalid("Some of the request's parameters are not valid.", faults).response()


async def _log_full(_: Request, __: Exception) -> Response:
    detail = "No more can be taken in at the moment; nothing was stored."
    return Problem(503, "log_full", "The log is full", detail, headers={"Retry-After": "30"}).response()


async def _unavailable(_: Request, __: Exception) -> Response:
    return unavailable("A server that this needs does not answer. Trying again does no harm.").response()


async def _nats(request: Request, error: Exception) -> Response:
    """What the client library raises where no reader of ours stands between: the connection is closing or away."""
    _log.warning("%s failed: %s: %s", request.url.path, type(error).__name__, error)
    return await _unavailable(request, error)


async def _permanent(request: Request, error: Exception) -> Response:
    """Trying the same again is no use, or not soon; somebody who runs this should know."""
    _log.error("%s %s can not be done: %s", request.method, request.url.path, error)
    match error:
        case ArtifactGone():
            detail = "A part of this execution is not stored any more, or is damaged."
            return Problem(410, "artifact_gone", "A part is gone", detail).response()
        case UnknownEvent():
            detail = "The history of this execution was written by another release and can not be read by this one."
            return unreadable(detail).response()
        case _:
            return Problem(422, "not_possible", "This can not be done", "It would fail again.").response()


_FRAMEWORK = {
    400: ("bad_request", "The request can not be read"),
    404: ("not_found", "There is nothing here"),
    408: ("request_too_slow", "The request took too long"),
    413: ("body_too_large", "The body is too large"),
    405: ("method_not_allowed", "This method is not allowed here"),
}


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, title = _FRAMEWORK.get(error.status_code, ("http_error", "The request was refused"))
    match error.status_code:
        case 404 | 405:
            detail = f"{request.method} {request.url.path[:200]} is not a call of this service."
        case _:
            detail = str(error.detail)
    return Problem(error.status_code, code, title, detail, headers=error.headers).response()
