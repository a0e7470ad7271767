"""Removes sessions that are over: nobody may use them, and nobody else removes those of people who do not come again."""

import asyncio

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db import Role, transaction
from shared.errors import Unavailable
from shared.logs import get_logger

EVERY_SECONDS = 600.0
AT_ONCE = 10_000
"""In one transaction, so that none lasts."""

_REMOVE = text("""
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= now() ORDER BY expires_at LIMIT :most)
""")

_log = get_logger(__name__)


async def run(db: AsyncEngine) -> None:
    """Until cancelled. Several gateways may do the same."""
    while True:
        try:
            while await remove(db) == AT_ONCE:
                pass
        except (Unavailable, SQLAlchemyError) as error:
            _log.warning("expired sessions are not removed yet", reason=str(error))
        await asyncio.sleep(EVERY_SECONDS)


async def remove(db: AsyncEngine) -> int:
    """How many. Raises: Unavailable."""
    async with transaction(db, role=Role.AUTH) as connection:
        return (await connection.execute(_REMOVE, {"most": AT_ONCE})).rowcount
