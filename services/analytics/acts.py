"""What people do to the figures with the programs beside the service, in the audit."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import transaction
from shared.ids import new_id

OPERATOR = "operator"
"""Somebody with the database's password."""
TARGET = "usage"

_RECORD = text("""
INSERT INTO audit (id, actor, action, target, details) VALUES (:id, :actor, :action, :target, :details)
""").bindparams(bindparam("details", type_=JSONB))


async def record(engine: AsyncEngine, action: str, details: Mapping[str, Any]) -> None:
    """Before it is done: one that breaks off has done a part of it. Raises: Unavailable."""
    line = {"id": new_id(), "actor": OPERATOR, "action": action, "target": TARGET, "details": dict(details)}
    async with transaction(engine) as connection:
        await connection.execute(_RECORD, line)
