"""What people do to the figures with the programs beside the service, in the audit."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from shared import audit
from shared.db import transaction

OPERATOR = "operator"
"""Somebody with the database's password."""
TARGET = "usage"


async def record(engine: AsyncEngine, action: str, details: Mapping[str, Any]) -> None:
    """Before it is done: one that breaks off has done a part of it. Raises: Unavailable."""
    async with transaction(engine) as connection:
        await audit.record(connection, actor=OPERATOR, action=action, target=TARGET, details=details)
