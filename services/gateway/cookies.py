"""The console's two cookies: the session, which scripts can not read, and the CSRF token, which they must.

The browser sends both with every request to this origin, another site's too where SameSite lets it; but another
site can not read the token, so it can not repeat it in the header.
"""

from fastapi import Request, Response

from services.gateway.settings import GatewaySettings

SESSION = "lekhika_session"
CSRF = "lekhika_csrf"
CSRF_HEADER = "X-CSRF-Token"


def _name(settings: GatewaySettings) -> str:
    """With HTTPS browsers refuse this name from any other host of the same domain."""
    return f"__Host-{SESSION}" if settings.https else SESSION


def session_of(request: Request, settings: GatewaySettings) -> str | None:
    return request.cookies.get(_name(settings))


def set_cookies(response: Response, settings: GatewaySettings, session: str, csrf: str) -> None:
    """They stay as long as the session can last; the gateway decides when it ends."""
    for name, value, hidden in ((_name(settings), session, True), (CSRF, csrf, False)):
        response.set_cookie(
            name,
            value,
            max_age=settings.session_seconds,
            secure=settings.https,
            httponly=hidden,
            samesite="lax",
        )


def clear_cookies(response: Response, settings: GatewaySettings) -> None:
    for name, hidden in ((_name(settings), True), (CSRF, False)):
        response.delete_cookie(name, secure=settings.https, httponly=hidden, samesite="lax")
