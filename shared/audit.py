"""Who did what to whom, when and why. Rows are only ever added: see docs/audit.md."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import Role, act_as
from shared.ids import new_id

_RECORD = text("""
INSERT INTO audit (id, actor, action, target, reason, details) VALUES (:id, :actor, :action, :target, :reason, :details)
""").bindparams(bindparam("details", type_=JSONB))


async def record_own(
    connection: AsyncConnection, user_id: str, action: str, target: str, details: Mapping[str, Any]
) -> None:
    """An act of that person, at the end of a transaction of another role which may write none."""
    await act_as(connection, Role.USER, user_id)
    await record(connection, actor=user_id, action=action, target=target, details=details)


async def record(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    target: str,
    details: Mapping[str, Any],
    reason: str | None = None,
) -> None:
    """Writes an act in the transaction of the act itself, so that there is neither without the other.

    `actor` is a user's id or says what else it was, `action` such as `models.put`, `target` the id of what it was done to.
    """
    line = {"id": new_id(), "actor": actor, "action": action, "target": target}
    await connection.execute(_RECORD, {**line, "reason": reason, "details": dict(details)})
