"""Routes of executions."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from services.gateway import commands
from services.gateway.auth import Superadmin, User
from services.gateway.bodies import parsed, read_object
from services.gateway.download import output_answer
from services.gateway.downloads.form import Form
from services.gateway.execution_answers import ExecutionAnswer, ExecutionList, OutputAnswer
from services.gateway.idempotency import MAX_KEY, digest_of, is_key
from services.gateway.live import Cursor
from services.gateway.openapi import body_of
from services.gateway.parts import Parts, get_parts
from services.gateway.problems import FieldError, invalid
from services.gateway.queries import Page, list_own, load_own, present
from services.gateway.resource import url_of
from services.gateway.stream import LiveResponse
from services.gateway.wanted_form import Wish
from shared.execution import Status

router = APIRouter(tags=["executions"])

QUEUE = (
    "`queue` is `{position, ahead, estimated_wait_seconds}` while the status is `queued`, else null: position 1 starts "
    "next; the wait is estimated from recent throughput, and null while there is none to go by."
)

OUTPUT = (
    f"By the Accept header, or as a file by `format` ({', '.join(Form)}). HTML, EPUB and DOCX are made from its Markdown and "
    "always are files; an output that is JSON does not have them. `X-Lekhika-Formats` lists what there is, of which the Accept "
    "header chooses; `X-Lekhika-Partial` tells whether the execution ended before it was complete, or still runs."
)

_FORMS = {form.media_type: {"schema": {"type": "string"}} for form in Form} | {
    Form.JSON.media_type: {"schema": OutputAnswer.model_json_schema()}
}

GatewayParts = Annotated[Parts, Depends(get_parts)]


class LimitsBody(BaseModel):
    """What one execution may use; capped by the gateway's settings. What is left out is the engine's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seconds: PositiveInt | None = None
    tokens: PositiveInt | None = None
    output_bytes: PositiveInt | None = None
    nodes: PositiveInt | None = None


class StartBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"engine": "article", "input": {"topic": "Bees in winter"}}]},
    )

    engine: str = Field(min_length=1, max_length=200)
    input: dict[str, Any] = {}
    limits: LimitsBody | None = None


class StopBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str | None = Field(default=None, max_length=500)
    force: bool = False


class ForceBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = Field(min_length=1, max_length=500)


def _answer(status: int, body: dict[str, Any], **headers: str) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store", **headers}, "application/json")


@router.post(
    "/v1/executions",
    status_code=202,
    response_model=ExecutionAnswer,
    responses={200: {"model": ExecutionAnswer, "description": "The Idempotency-Key was used for it before."}},
    openapi_extra=body_of(StartBody),
    summary="Start an execution",
)
async def start(
    request: Request,
    parts: GatewayParts,
    principal: User,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    value = await read_object(request)
    body = parsed(StartBody, value)
    if idempotency_key is not None and not is_key(idempotency_key):
        fault = FieldError("Idempotency-Key", f"must be 1 to {MAX_KEY} printable ASCII characters")
        raise invalid("The Idempotency-Key can not be used.", [fault])
    wanted = commands.Start(
        engine=body.engine,
        input=body.input,
        limits=body.limits.model_dump(exclude_none=True) if body.limits else {},
        key=idempotency_key,
        digest=digest_of(value) if idempotency_key is not None else "",
    )
    status, execution = await commands.start(parts, principal, wanted)
    return _answer(status, execution, Location=url_of(execution["id"]))


@router.get(
    "/v1/executions",
    response_model=ExecutionList,
    summary="The caller's executions, newest first",
    description=QUEUE,
)
async def list_executions(
    parts: GatewayParts,
    principal: User,
    status: Status | None = None,
    engine: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> Response:
    if engine is not None and "\0" in engine:
        raise invalid("There is no such engine.", [FieldError("engine", "must not hold NUL characters")])
    page = Page(status=status, engine=engine, limit=limit, cursor=cursor or None)
    return _answer(200, await list_own(parts, principal, page))


@router.get(
    "/v1/executions/{execution_id}",
    response_model=ExecutionAnswer,
    summary="One execution, as the log has it now",
    description=QUEUE,
)
async def get_execution(execution_id: str, parts: GatewayParts, principal: User) -> Response:
    _, state = await load_own(parts, principal, execution_id)
    return _answer(200, await present(parts, state))


@router.post(
    "/v1/executions/{execution_id}/stop",
    status_code=202,
    response_model=ExecutionAnswer,
    responses={200: {"model": ExecutionAnswer, "description": "It has ended."}},
    openapi_extra=body_of(StopBody, required=False),
    summary="Stop an execution",
)
async def stop(request: Request, execution_id: str, parts: GatewayParts, principal: User) -> Response:
    body = parsed(StopBody, await read_object(request, optional=True))
    wanted = commands.Stop(
        by=principal.user_id,
        reason=body.reason,
        force=body.force,
        at_once=body.force and principal.superadmin,
    )
    return _answer(*await commands.stop(parts, principal, execution_id, wanted))


@router.post(
    "/v1/admin/executions/{execution_id}/force-stop",
    response_model=ExecutionAnswer,
    openapi_extra=body_of(ForceBody),
    summary="End anybody's execution",
)
async def force_stop(
    request: Request, execution_id: str, parts: GatewayParts, principal: Superadmin
) -> Response:
    body = parsed(ForceBody, await read_object(request))
    wanted = commands.Stop(by=principal.user_id, reason=body.reason, force=True, at_once=True)
    _, execution = await commands.force(parts, execution_id, wanted)
    return _answer(200, execution)


@router.get(
    "/v1/executions/{execution_id}/events",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    summary="Watch an execution (server-sent events)",
)
async def events(
    execution_id: str,
    parts: GatewayParts,
    principal: User,
    after: str | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    given = last_event_id or after or ""
    # What was never given out as an id is as good as none: everything is sent.
    return LiveResponse(parts, principal, execution_id, Cursor.parse(given))


@router.get(
    "/v1/executions/{execution_id}/output",
    summary="The final or partial output",
    description=OUTPUT,
    response_class=Response,
    responses={200: {"content": _FORMS}},
)
async def output(
    request: Request,
    execution_id: str,
    parts: GatewayParts,
    principal: User,
    accept: Annotated[str | None, Header()] = None,
    format_name: Annotated[str | None, Query(alias="format", max_length=20)] = None,
) -> Response:
    wish = Wish.of(accept, format_name)
    _, state = await load_own(parts, principal, execution_id)
    return await output_answer(request, parts, principal, state, wish)
