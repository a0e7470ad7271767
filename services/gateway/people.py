"""A person named in an address."""

from typing import Annotated

from fastapi import Path
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway.problems import Problem
from shared.ids import is_id
from shared.tables import SYSTEM_USER_ID, users

PersonId = Annotated[str, Path(max_length=100, json_schema_extra={"format": "uuid"})]


def no_person() -> Problem:
    return Problem(404, "user_not_found", "No such user", "There is no user with this id.")


async def require_person(connection: AsyncConnection, user_id: str) -> None:
    """Raises: Problem 404, also for the owner of the sample engines, who is nobody."""
    if not is_id(user_id) or user_id == SYSTEM_USER_ID:
        raise no_person()
    query = select(users.c.id).where(users.c.id == user_id)
    if (await connection.execute(query)).one_or_none() is None:
        raise no_person()
