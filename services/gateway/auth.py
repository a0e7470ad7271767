"""Who is calling, and whether they may: the one place that every route asks."""

import functools
import hmac
import time
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from services.gateway import scopes
from services.gateway.cookies import CSRF_HEADER, SESSION, session_of
from services.gateway.identity_tokens import LOOKS_LIKE_ONE, TokenRefused
from services.gateway.parts import Parts, get_parts
from services.gateway.principal import Principal
from services.gateway.problems import Problem, too_many

__all__ = ["Principal", "Superadmin", "User", "require_superadmin", "require_user"]

_BEARER = HTTPBearer(
    auto_error=False, description="An API key, `lk_...`, or a token of the configured identity provider"
)
_COOKIE = APIKeyCookie(
    name=SESSION,
    auto_error=False,
    scheme_name="Session",
    description=f"Of `POST /v1/session`. What changes something also needs the header `{CSRF_HEADER}`.",
)


async def require_user(
    request: Request,
    parts: Annotated[Parts, Depends(get_parts)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    _: Annotated[str | None, Depends(_COOKIE)],
) -> Principal:
    """Raises: Problem 401 without a good key, session or token; 403, when the CSRF token or a scope is missing; 429;
    Unavailable.
    """
    if credentials is not None:
        principal = await _by_bearer(parts, request, credentials.credentials)
    elif "authorization" in request.headers:
        raise _unauthorized("The header Authorization must be: Bearer lk_...")
    else:
        principal = await _by_cookie(parts, request)
    _limit(parts, principal, request)
    _check_scope(principal, request)
    parts.last_used.note(principal)
    return principal


async def require_superadmin(principal: Annotated[Principal, Depends(require_user)]) -> Principal:
    """Raises: Problem 401, 403 or 429; Unavailable."""
    if not principal.superadmin:
        raise Problem(403, "forbidden", "Not allowed", "Only superadmins may do this.")
    return principal


User = Annotated[Principal, Depends(require_user)]
Superadmin = Annotated[Principal, Depends(require_superadmin)]


async def _by_bearer(parts: Parts, request: Request, given: str) -> Principal:
    if parts.identity_tokens is not None and LOOKS_LIKE_ONE.fullmatch(given):
        try:
            claims = await parts.identity_tokens.claims(given)
        except TokenRefused as refusal:
            raise _unauthorized(str(refusal)) from None
        principal = await parts.authenticator.by_claims(claims)
        if principal is None:
            raise _unauthorized("This account is disabled.")
        return principal
    principal = await parts.authenticator.by_key(given, functools.partial(parts.unknown.asked, request))
    if principal is None:
        raise _unauthorized("This API key is malformed, unknown, revoked or expired.")
    return principal


async def _by_cookie(parts: Parts, request: Request) -> Principal:
    cookie = session_of(request, parts.settings)
    if cookie is None:
        raise _unauthorized("Send an API key: Authorization: Bearer lk_...")
    session = await parts.authenticator.by_session(cookie, functools.partial(parts.unknown.asked, request))
    if session is None:
        raise _unauthorized("The session has ended. Log in again.")
    if request.method not in scopes.READING:
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), session.csrf.encode()):
            detail = f"With a session, send its CSRF token in the header {CSRF_HEADER}."
            raise Problem(403, "csrf_failed", "The CSRF token is missing or wrong", detail)
    return session.principal


def _limit(parts: Parts, principal: Principal, request: Request) -> None:
    """Stops are left out: whoever started too much must be able to end it."""
    if request.method == "POST" and request.scope["path"].endswith(("/stop", "/force-stop")):
        return
    wait = parts.requests.take(principal.credential, time.monotonic())
    if wait > 0:
        raise too_many("rate_limited", "This key, session or token is used too often.", wait)


def _check_scope(principal: Principal, request: Request) -> None:
    missing = scopes.missing(request.method, request.scope["path"], principal.scopes)
    if missing is not None:
        detail = (
            "This call needs an API key without scopes."
            if missing == scopes.ALL
            else f"This API key lacks the scope {missing}."
        )
        raise Problem(403, "scope_missing", "Not allowed for this key", detail, extra={"scope": missing})


def _unauthorized(detail: str) -> Problem:
    return Problem(
        401, "unauthorized", "Not authorized", detail, headers={"WWW-Authenticate": 'Bearer realm="lekhika"'}
    )
