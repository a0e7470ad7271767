"""What the OpenAPI document says of every route alike: how it refuses."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from services.gateway.problems import MEDIA_TYPE

_REFUSALS = {
    400: "The request can not be read.",
    401: "No key, or one that is malformed, unknown, revoked or expired.",
    403: "The caller may not do this.",
    404: "There is no such thing, or it is somebody else's.",
    405: "There is no such call.",
    406: "The answer can not be had in any form that is accepted.",
    409: "It does not go with the present state.",
    410: "It was there, and is gone.",
    412: "It is not at the version that If-Match names.",
    413: "The body is too large.",
    415: "The body is of a kind that can not be read.",
    422: "Parts of the request are not valid; `errors` names them.",
    429: "Too many requests; Retry-After says when to try again.",
    503: "A server that this needs does not answer; trying again does no harm.",
}


class ProblemFault(BaseModel):
    """`field` is a path such as `input.topic`."""

    field: str
    detail: str


class ProblemAnswer(BaseModel):
    """RFC 9457. `code` is stable and for programs, `detail` is for people. Some have further members."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemFault] | None = None


def refusals() -> dict[int | str, dict[str, Any]]:
    """For `FastAPI(responses=...)`: every route may answer these, each with a problem."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in _REFUSALS.items()}


def body_of(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """For a route's `openapi_extra`: the body that the route reads by itself."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


def install(app: FastAPI) -> None:
    """Makes the document whole: the schema that `refusals` refers to, and those that routes bring along inline."""
    made = app.openapi

    def document() -> dict[str, Any]:
        found = made()
        schemas = found.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schemas["Problem"] = ProblemAnswer.model_json_schema()
            _hoist(found, schemas)
        return found

    app.openapi = document  # type: ignore[method-assign]


def _hoist(value: Any, schemas: dict[str, Any]) -> None:
    """Definitions inside of a schema become components: a reference is resolved from the top of the document."""
    if isinstance(value, list):
        for item in value:
            _hoist(item, schemas)
    elif isinstance(value, dict):
        for name, schema in value.pop("$defs", {}).items():
            _hoist(schemas.setdefault(name, schema), schemas)
        if isinstance(reference := value.get("$ref"), str):
            value["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
        for item in list(value.values()):
            _hoist(item, schemas)
