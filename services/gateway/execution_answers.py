"""Executions as they go out over HTTP, for the OpenAPI document; `resource` and `queries` make them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from shared.execution import Status
from shared.usage import Certainty, Kind


class TokensAnswer(BaseModel):
    """`input` includes `cached`; `total` = input + output + thoughts + tool."""

    input: int
    cached: int
    output: int
    thoughts: int
    tool: int
    total: int
    certainty: Certainty


class EngineOfExecution(BaseModel):
    id: str
    name: str
    version: int


class ErrorAnswer(BaseModel):
    code: str
    message: str
    node: str | None


class QueueAnswer(BaseModel):
    position: int
    ahead: int
    estimated_wait_seconds: float | None


class StopAnswer(BaseModel):
    """`by` is a user id or `system:<who>`."""

    by: str
    reason: str | None
    force: bool
    at: datetime
    heard_at: datetime | None
    closed_at: datetime | None


class NodeAnswer(BaseModel):
    id: str
    kind: str
    name: str | None
    status: str
    model: str | None
    tokens: TokensAnswer
    attempts: int
    items: int | None
    characters: int
    truncated: bool
    finish_reason: str | None


class ModelUsageAnswer(BaseModel):
    model: str
    kind: Literal["included", "payg"]
    calls: int
    tokens: TokensAnswer


class LimitsAnswer(BaseModel):
    seconds: int
    tokens: int
    output_bytes: int
    nodes: int


class _Common(BaseModel):
    id: str
    user_id: str
    engine: EngineOfExecution
    status: Status
    kind: Kind
    tokens: TokensAnswer
    error: ErrorAnswer | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    attempt: int
    worker: str | None
    lane: str | None
    queue: QueueAnswer | None
    stop: StopAnswer | None
    output: str
    events: str


class ExecutionAnswer(_Common):
    input: dict[str, Any]
    limits: LimitsAnswer
    nodes: list[NodeAnswer]
    usage: list[ModelUsageAnswer]


class ExecutionSummary(_Common):
    title: str | None
    kept: bool


class ExecutionList(BaseModel):
    items: list[ExecutionSummary]
    next_cursor: str | None


class OutputAnswer(BaseModel):
    """`json` is there too where the text is JSON, and complete."""

    execution_id: str
    status: Status
    partial: bool
    node: str | None
    text: str


class WorkerList(BaseModel):
    items: list[dict[str, Any]]
    next_cursor: None = None
