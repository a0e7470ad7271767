"""People, as superadmins manage them. The first superadmin is made by the command line."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, StrictBool
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import session_store, user_store
from services.gateway.auth import Principal, Superadmin
from services.gateway.model_bodies import Reason
from services.gateway.parts import Parts, get_parts
from services.gateway.people import no_person
from services.gateway.person_fields import Email, Name, Password, PersonRole
from services.gateway.problems import FieldError, Problem, invalid
from services.gateway.user_store import EmailTaken, Person
from shared import audit
from shared.db import Role, transaction
from shared.ids import is_id

router = APIRouter(prefix="/v1/admin/users", tags=["admin"])

GatewayParts = Annotated[Parts, Depends(get_parts)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = None


class NewUser(_Body):
    """Without a password the user can not log in to the console."""

    email: Email
    name: Name
    role: PersonRole = PersonRole.USER
    password: Password | None = None


class UserChange(_Body):
    """What is left out stays. Of a disabled user no key, session or token is taken."""

    name: Name | None = None
    role: PersonRole | None = None
    disabled: StrictBool | None = None


class PasswordSet(_Body):
    password: Password


class UserAnswer(BaseModel):
    id: str
    email: str | None
    name: str
    role: PersonRole
    created_at: datetime
    disabled_at: datetime | None

    @classmethod
    def of(cls, person: Person) -> Self:
        return cls(**asdict(person))


class UserList(BaseModel):
    items: list[UserAnswer]
    next_cursor: str | None


@router.get("", summary="Users, newest first")
async def list_users(
    _: Superadmin,
    parts: GatewayParts,
    response: Response,
    email: Annotated[
        str | None, Query(max_length=320, pattern=r"^[^\x00]*$", description="A part of it")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> UserList:
    if cursor and not is_id(cursor):
        raise invalid(
            "The cursor can not be read.", [FieldError("cursor", "must be a next_cursor of this call")]
        )
    response.headers["Cache-Control"] = "no-store"
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        found = await user_store.listed(
            connection, email=email or None, before=cursor or None, limit=limit + 1
        )
    page = [UserAnswer.of(person) for person in found[:limit]]
    return UserList(items=page, next_cursor=page[-1].id if len(found) > limit else None)


@router.post("", status_code=201, summary="Create a user")
async def create_user(body: NewUser, principal: Superadmin, parts: GatewayParts) -> UserAnswer:
    digest = await parts.passwords.digest(body.password) if body.password else None
    try:
        async with transaction(parts.db, role=Role.ADMIN) as connection:
            user_id = await user_store.add(connection, email=body.email, name=body.name, role=body.role.value)
            if digest is not None:
                await session_store.set_password(connection, user_id, digest)
            details = {"role": body.role.value, "password": digest is not None}
            await _audit(connection, principal, "users.create", user_id, details, body.reason)
            return UserAnswer.of(await _existing(connection, user_id))
    except EmailTaken:
        detail = "There is a user with this email address already."
        raise Problem(409, "email_taken", "The address is taken", detail) from None


@router.get("/{user_id}", summary="One user")
async def get_user(user_id: str, _: Superadmin, parts: GatewayParts, response: Response) -> UserAnswer:
    response.headers["Cache-Control"] = "no-store"
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        return UserAnswer.of(await _existing(connection, user_id))


@router.patch("/{user_id}", summary="Change a user's name or role, disable or enable one; it counts at once")
async def change_user(
    user_id: str, body: UserChange, principal: Superadmin, parts: GatewayParts
) -> UserAnswer:
    changes: dict[str, Any] = body.model_dump(exclude={"reason"}, mode="json")
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await user_store.lock_roles(connection)
        await _existing(connection, user_id)
        await user_store.change(connection, user_id, **changes)
        if await user_store.superadmins(connection) == 0:
            detail = "This is the last superadmin who is not disabled. Make another one first."
            raise Problem(409, "last_superadmin", "There must be a superadmin", detail)
        given = {name: value for name, value in changes.items() if value is not None}
        given |= {"name": "changed"} if body.name is not None else {}  # the audit outlives who it was
        await _audit(connection, principal, "users.change", user_id, given, body.reason)
        answer = UserAnswer.of(await _existing(connection, user_id))
    await parts.authenticator.changed(user_id)
    return answer


@router.put(
    "/{user_id}/password", status_code=204, summary="Set a user's password; all sessions of the user end"
)
async def set_password(user_id: str, body: PasswordSet, principal: Superadmin, parts: GatewayParts) -> None:
    digest = await parts.passwords.digest(body.password)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        await _existing(connection, user_id)
        await session_store.set_password(connection, user_id, digest)
        ended = await session_store.end_all(connection, user_id)
        await _audit(connection, principal, "users.password", user_id, {"sessions_ended": ended}, body.reason)
    await parts.authenticator.changed(user_id)


async def _existing(connection: AsyncConnection, user_id: str) -> Person:
    """Raises: Problem 404."""
    person = await user_store.find(connection, user_id) if is_id(user_id) else None
    if person is None:
        raise no_person()
    return person


async def _audit(
    connection: AsyncConnection,
    principal: Principal,
    action: str,
    target: str,
    details: dict[str, Any],
    reason: str | None,
) -> None:
    await audit.record(
        connection, actor=principal.user_id, action=action, target=target, details=details, reason=reason
    )
