"""Reading executions: one from the log, lists from the read model."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import Row, literal, select, tuple_

from services.gateway.auth import Principal
from services.gateway.parts import Parts
from services.gateway.problems import FieldError, Problem, invalid
from services.gateway.resource import execution_json, pruned_json, queue_json, rfc3339, url_of
from shared.db import Role, transaction
from shared.errors import UnknownEvent
from shared.events import ExecutionPruned, Recorded
from shared.execution import ExecutionState, Status, fold
from shared.ids import is_id
from shared.tables import executions, usage_ledger
from shared.usage import Certainty, ModelUsage, Tier, Tokens


def not_found() -> Problem:
    return Problem(
        404, "execution_not_found", "No such execution", "There is no execution of yours with this id."
    )


async def load_own(
    parts: Parts, principal: Principal, execution_id: str
) -> tuple[Sequence[Recorded], ExecutionState]:
    """History and state of the caller's execution, as the log has them now.

    Raises: Problem 404, when there is none or it is somebody else's; 410, when it was pruned; UnknownEvent, when it is
    the caller's and this release can not read it; Unavailable.
    """
    if not is_id(execution_id):
        raise not_found()
    try:
        history = await parts.log.load(execution_id)
    except UnknownEvent:
        outline = await parts.log.outline(execution_id)
        if outline is None or outline.user_id != principal.user_id:
            raise not_found() from None
        raise
    last = history[-1].event if history else None
    if isinstance(last, ExecutionPruned):
        if last.user_id != principal.user_id:
            raise not_found()
        raise _pruned(pruned_json(last.user_id, last.ended, last.ended_at, last.usage))
    state = fold(history)
    if state is None:
        raise await _from_ledger(parts, principal, execution_id)
    if state.user_id != principal.user_id:
        raise not_found()
    return history, state


def _pruned(known: Any) -> Problem:
    detail = "This execution ended longer ago than executions are kept. What it used is still counted."
    return Problem(410, "execution_pruned", "The execution was pruned", detail, extra=known)


async def _from_ledger(parts: Parts, principal: Principal, execution_id: str) -> Problem:
    """The answer for an execution that the log has nothing of any more, not even the tombstone."""
    query = select(
        *(
            usage_ledger.c[name]
            for name in ("line", "outcome", "ended_at", "model", "model_type", "certainty", "calls")
        ),
        *(usage_ledger.c[f"{kind}_tokens"] for kind in _KINDS),
    ).where(usage_ledger.c.execution_id == execution_id)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        rows = (await connection.execute(query.order_by(usage_ledger.c.line))).all()
    if not rows or rows[0].line != 0:
        return not_found()
    usage = tuple(_ledger_usage(row) for row in rows[1:])
    return _pruned(pruned_json(principal.user_id, rows[0].outcome, rows[0].ended_at, usage))


_CREATED, _ID = executions.c.created_at, executions.c.id
_KINDS = ("input", "cached", "output", "thoughts", "tool")


def _ledger_usage(row: Row[Any]) -> ModelUsage:
    counts = {kind: getattr(row, f"{kind}_tokens") for kind in _KINDS}
    tokens = Tokens(**counts, certainty=Certainty(row.certainty))
    return ModelUsage(model=row.model, tier=Tier(row.model_type), tokens=tokens, calls=row.calls)


async def present(parts: Parts, state: ExecutionState) -> dict[str, Any]:
    """The execution as JSON. Raises: ArtifactGone; UnknownEvent; Unavailable."""
    body = await parts.bodies.of(state.body)
    return execution_json(state, body, retention(parts), parts.lanes.place(state.id))


def retention(parts: Parts) -> timedelta:
    return timedelta(hours=parts.settings.retention_hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What part of the caller's list is asked for."""

    status: Status | None = None
    engine: str | None = None
    limit: int = 20
    cursor: str | None = None


async def list_own(parts: Parts, principal: Principal, page: Page) -> dict[str, Any]:
    """Newest first. The read model follows the log, usually by milliseconds. Raises: Problem 422; Unavailable."""
    order = tuple_(_CREATED, _ID)
    # The policy of the table gives a user's own rows only; the condition is for its index.
    query = select(executions).where(executions.c.user_id == principal.user_id)
    if page.status is not None:
        query = query.where(executions.c.status == page.status.value)
    if page.engine is not None:
        query = query.where(executions.c.engine_id == page.engine)
    if page.cursor is not None:
        created, last_id = _after(page.cursor)
        query = query.where(order < tuple_(literal(created, _CREATED.type), literal(last_id, _ID.type)))
    query = query.order_by(_CREATED.desc(), _ID.desc()).limit(page.limit + 1)
    async with transaction(parts.db, role=Role.USER, user_id=principal.user_id) as connection:
        rows = (await connection.execute(query)).all()
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    return {
        "items": [_row_json(row, parts) for row in shown],
        "next_cursor": _cursor(shown[-1]) if more else None,
    }


def _cursor(row: Row[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([rfc3339(row.created_at), row.id])).decode().rstrip("=")


def _after(cursor: str) -> tuple[datetime, str]:
    """Raises: Problem 422 for what `_cursor` never gave out."""
    try:
        created, last_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = datetime.fromisoformat(created)
        if found.tzinfo is None or not is_id(last_id):
            raise ValueError(cursor)
    except (ValueError, TypeError, AttributeError):
        raise invalid(
            "Take the cursor from an answer's next_cursor.", [FieldError("cursor", "is not valid")]
        ) from None
    return found, last_id


def _row_json(row: Row[Any], parts: Parts) -> dict[str, Any]:
    """As `execution_json`, without input, limits and nodes, which lists do not have, and with a title."""
    ended = row.ended_at
    counts = {kind: getattr(row, f"{kind}_tokens") for kind in _KINDS}
    total = counts["input"] + counts["output"] + counts["thoughts"] + counts["tool"]
    return {
        "id": row.id,
        "user_id": row.user_id,
        "engine": {"id": row.engine_id, "name": row.engine_name, "version": row.engine_version},
        "title": row.title,
        "status": row.status,
        "kind": row.kind,
        "tokens": {**counts, "total": total, "certainty": row.certainty},
        "error": row.error,
        "created_at": rfc3339(row.created_at),
        "started_at": rfc3339(row.started_at),
        "ended_at": rfc3339(ended),
        "expires_at": rfc3339(ended + retention(parts)) if ended and not row.kept else None,
        "kept": row.kept,
        "attempt": row.attempt,
        "worker": row.worker,
        "lane": row.lane,
        "queue": queue_json(row.status, parts.lanes.place(row.id)),
        "stop": row.stop,
        "output": f"{url_of(row.id)}/output",
        "events": f"{url_of(row.id)}/events",
    }
