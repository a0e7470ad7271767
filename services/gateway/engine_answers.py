"""Engines as they go out over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict

from services.gateway.engine_history import Draft, VersionRow
from services.gateway.engine_list import Listed, ListedDraft, Page
from services.gateway.engine_store import EngineRow, Published
from services.gateway.resource import rfc3339
from shared.validation import Problem
from shared.workflow import Engine, Input

STORED_FIELDS = ("version", "shared", "owner", "updated_at")
"""What an answer has beside the definition; ignored in a body, so that an answer can be put again."""


class EngineSummary(BaseModel):
    id: str
    name: str
    description: str | None
    version: int
    shared: bool
    owner: str
    inputs: dict[str, Input]
    updated_at: datetime


class DraftSummary(BaseModel):
    """`version` is the published one beside it, null when there is none; `name` what the draft says, if it does."""

    id: str
    name: str | None
    version: int | None
    updated_at: datetime


class EngineList(BaseModel):
    """In order of their ids; `next_cursor` asks for those after the last of both lists."""

    items: list[EngineSummary]
    drafts: list[DraftSummary]
    next_cursor: str | None


class EngineAnswer(Engine):
    """The definition as its author wrote it, and what is known about it."""

    version: int
    shared: bool
    owner: str
    updated_at: datetime


class DraftAnswer(BaseModel):
    """`definition` is what was put, complete or not."""

    id: str
    version: int | None
    updated_at: datetime
    definition: dict[str, Any]


class VersionSummary(BaseModel):
    """`current`: the one that runs."""

    version: int
    name: str | None
    current: bool
    created_at: datetime
    created_by: str


class VersionList(BaseModel):
    """Newest first; `next_cursor` asks for the older ones."""

    items: list[VersionSummary]
    next_cursor: str | None


class RestoreBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int


class SharingBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    visibility: Literal["private", "everyone"]


class Fault(BaseModel):
    """`field` is a path such as `nodes.outline.prompt`; `node` the id of the node that it is in."""

    field: str
    detail: str
    node: str | None


class Verdict(BaseModel):
    """`warnings` are of a valid definition: what will be otherwise than it says."""

    valid: bool
    errors: list[Fault]
    warnings: list[Fault]


_EXAMPLE = {
    "name": "A greeting",
    "inputs": {"who": {"type": "text", "required": True}},
    "nodes": [{"id": "text", "kind": "template", "template": "Hello {{ who }}"}],
    "output": "text",
}
DEFINITION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A definition; what an answer has beside it may be left in and is ignored.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/EngineAnswer"},
                "examples": {"greeting": {"value": _EXAMPLE}},
            }
        },
    }
}
ANY_OBJECT: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A definition as far as it has got; it is checked when it is published.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def page(found: Page) -> dict[str, Any]:
    return {
        "items": [_summary(row) for row in found.engines],
        "drafts": [_draft_summary(draft) for draft in found.drafts],
        "next_cursor": found.next_cursor,
    }


def _summary(row: Listed) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "version": row.version,
        "shared": row.shared,
        "owner": row.owner_id,
        "inputs": {name: _input(spec) for name, spec in row.specs().items()},
        "updated_at": rfc3339(row.updated_at),
    }


def _input(spec: dict[str, Any]) -> dict[str, Any]:
    """With type and necessity, also where its author left them out."""
    return {"type": "text", "required": False, **spec}


def _draft_summary(draft: ListedDraft) -> dict[str, Any]:
    return {
        "id": draft.id,
        "name": draft.name,
        "version": draft.version,
        "updated_at": rfc3339(draft.updated_at),
    }


def draft_whole(draft: Draft) -> dict[str, Any]:
    return {
        "id": draft.id,
        "version": draft.version,
        "updated_at": rfc3339(draft.updated_at),
        "definition": draft.definition,
    }


def version_summary(row: VersionRow, current: int) -> dict[str, Any]:
    return {
        "version": row.version,
        "name": row.name,
        "current": row.version == current,
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
    }


def verdict(*, errors: Sequence[Problem] = (), warnings: Sequence[Problem] = ()) -> dict[str, Any]:
    return {"valid": not errors, "errors": [*map(_fault, errors)], "warnings": [*map(_fault, warnings)]}


def _fault(problem: Problem) -> dict[str, Any]:
    return {"field": problem.field, "detail": problem.detail, "node": problem.node}


def whole(status: int, row: EngineRow) -> Response:
    """The engine, with the entity tag of this version of it for `If-Match`."""
    body = {
        **row.definition,
        "version": row.version,
        "shared": row.shared,
        "owner": row.owner_id,
        "updated_at": rfc3339(row.updated_at),
    }
    return answer(status, body, ETag=f'"{Published(row.version, row.created_at).tag}"')


def answer(status: int, body: Mapping[str, Any], **headers: str) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store", **headers}, "application/json")
