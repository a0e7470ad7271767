"""Who did what, kept for ever."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.ids import new_id

_ADD = text("""
INSERT INTO audit (id, actor, action, target, reason, details) VALUES (:id, :actor, :action, :target, :reason, :details)
""").bindparams(bindparam("details", type_=JSONB))


async def record(
    connection: AsyncConnection,
    *,
    actor: str,
    action: str,
    target: str,
    details: Mapping[str, Any],
    reason: str | None = None,
) -> None:
    """In the transaction of the deed itself."""
    line = {"id": new_id(), "actor": actor, "action": action, "target": target}
    await connection.execute(_ADD, {**line, "reason": reason, "details": dict(details)})
