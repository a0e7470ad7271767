"""Logging in to the console and out of it, and the own password."""

import secrets
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.gateway import session_store
from services.gateway.auth import User
from services.gateway.cookies import clear_cookies, session_of, set_cookies
from services.gateway.digests import digest
from services.gateway.parts import Parts, get_parts
from services.gateway.person_fields import GivenPassword, Password
from services.gateway.problems import Problem
from services.gateway.session_store import Account, NewSession
from shared import audit
from shared.db import Role, transaction
from shared.ids import new_id

router = APIRouter(tags=["account"])

GatewayParts = Annotated[Parts, Depends(get_parts)]

TRIES = 2
"""The password, or only the parameters of its digest, may be changed while it is checked."""


class LogInBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, Field(min_length=3, max_length=320, pattern=r"^[^\x00]+$")]
    password: GivenPassword


class SessionAnswer(BaseModel):
    """`csrf_token`: also in the cookie `lekhika_csrf`; must be sent as `X-CSRF-Token` with what changes something.
    `expires_at`: when the session ends if it is not used.
    """

    user_id: str
    email: str
    name: str
    role: str
    csrf_token: str
    expires_at: datetime


class Ended(BaseModel):
    ended: int
    """So many sessions."""


class PasswordBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: GivenPassword
    new_password: Password


@router.post("/v1/session", summary="Log in with email and password; the answer sets the session's cookie")
async def log_in(body: LogInBody, request: Request, response: Response, parts: GatewayParts) -> SessionAnswer:
    parts.log_ins.enter(request, body.email)
    for _ in range(TRIES):
        account, known = await _proved(parts, body)
        answer = await _begun(parts, account, known, response)
        if answer is not None:
            parts.log_ins.succeeded(request, body.email)
            await _end_former(parts, request)
            if parts.passwords.outdated(known):
                fresh = await parts.passwords.digest(body.password)
                await session_store.rehash(parts.db, account.user_id, known, fresh)
            return answer
    raise _failed()


async def _end_former(parts: Parts, request: Request) -> None:
    """The browser has forgotten its cookie: nobody else is to go on with it."""
    former = session_of(request, parts.settings)
    ended = await session_store.end_former(parts.db, digest(former)) if former is not None else None
    if ended is not None:
        await parts.authenticator.changed(ended)


async def _proved(parts: Parts, body: LogInBody) -> tuple[Account, str]:
    """Who it is, and the digest that the password fits. Raises: Problem 401."""
    account = await session_store.find(parts.db, body.email)
    known = account.password if account else None
    # As much work for an address that nobody has, so that the time does not tell who is here.
    if not await parts.passwords.fits(known, body.password) or account is None or known is None:
        await parts.refused_log_ins.note(account.user_id if account else None)
        raise _failed()
    return account, known


def _failed() -> Problem:
    """The same for an address that nobody has."""
    detail = "There is no account with this email address and password."
    return Problem(401, "log_in_failed", "The log-in failed", detail)


async def _begun(parts: Parts, account: Account, password: str, response: Response) -> SessionAnswer | None:
    """None when the password that was checked has another digest by now."""
    cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session = NewSession(
        id=new_id(), user_id=account.user_id, digest=digest(cookie), csrf=csrf, password=password
    )
    expires_at = await session_store.begin(
        parts.db,
        session,
        idle=parts.settings.session_idle_seconds,
        longest=parts.settings.session_seconds,
    )
    if expires_at is None:
        return None
    set_cookies(response, parts.settings, cookie, csrf)
    response.headers["Cache-Control"] = "no-store"
    return SessionAnswer(
        user_id=account.user_id,
        email=account.email,
        name=account.name,
        role=account.role,
        csrf_token=csrf,
        expires_at=expires_at,
    )


@router.delete("/v1/session", status_code=204, summary="Log out")
async def log_out(principal: User, response: Response, parts: GatewayParts) -> None:
    if principal.session_id is None:
        raise Problem(
            409, "no_session", "There is no session", "Only what is called with a session can end it."
        )
    await session_store.end(parts.db, principal.user_id, principal.session_id)
    await parts.authenticator.changed(principal.session_id)
    clear_cookies(response, parts.settings)


@router.post("/v1/session/everywhere", summary="Log out everywhere: end all sessions of the caller")
async def log_out_everywhere(principal: User, response: Response, parts: GatewayParts) -> Ended:
    async with transaction(parts.db, role=Role.AUTH) as connection:
        ended = await session_store.end_all(connection, principal.user_id)
        details = {"sessions_ended": ended}
        await audit.record_own(connection, principal.user_id, "sessions.end_all", principal.user_id, details)
    await parts.authenticator.changed(principal.user_id)
    clear_cookies(response, parts.settings)
    return Ended(ended=ended)


@router.put("/v1/me/password", status_code=204, summary="Change the own password; all other sessions end")
async def change_password(body: PasswordBody, request: Request, principal: User, parts: GatewayParts) -> None:
    parts.log_ins.enter(request, principal.user_id)
    known = await session_store.password_of(parts.db, principal.user_id)
    if known is None:
        detail = "This account has no password. A superadmin can set one."
        raise Problem(409, "no_password", "There is no password", detail)
    if not await parts.passwords.fits(known, body.current_password):
        raise _wrong_password()
    parts.log_ins.succeeded(request, principal.user_id)
    fresh = await parts.passwords.digest(body.new_password)
    async with transaction(parts.db, role=Role.AUTH) as connection:
        if not await session_store.replace_password(connection, principal.user_id, known, fresh):
            raise _wrong_password()
        ended = await session_store.end_all(connection, principal.user_id, but=principal.session_id)
        details = {"sessions_ended": ended}
        await audit.record_own(connection, principal.user_id, "users.password", principal.user_id, details)
    await parts.authenticator.changed(principal.user_id)


def _wrong_password() -> Problem:
    return Problem(403, "wrong_password", "Wrong password", "The current password is another one.")
