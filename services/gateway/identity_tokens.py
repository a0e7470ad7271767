"""Tokens of an identity provider that exists already: JSON Web Tokens, verified with the provider's public keys."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from jwt import PyJWK

from services.gateway.provider_keys import ProviderKeys
from services.gateway.settings import TokenSettings

LONGEST = 16_384
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()
LOOKS_LIKE_ONE = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Who the provider says that somebody is."""

    issuer: str
    subject: str
    email: str | None
    """Lower case; None when there is none or the provider says that it was not verified."""
    name: str
    expires_at: datetime
    """With the leeway."""


class TokenRefused(Exception):
    """In words that may be told to the caller."""


class IdentityTokens:
    """Verifies tokens of the one provider of the settings."""

    def __init__(self, settings: TokenSettings, keys: ProviderKeys) -> None:
        self._settings = settings
        self._keys = keys

    async def claims(self, token: str) -> Claims:
        """Raises: TokenRefused; Unavailable, when the provider's keys are not known and can not be had."""
        if len(token) > LONGEST:
            raise TokenRefused("The token is too long.")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise TokenRefused("The token can not be read.") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise TokenRefused("The token is signed with an algorithm that is not allowed.")
        key = await self._keys.get(kid, algorithm)
        if key is None:
            raise TokenRefused("The token is signed with a key that its issuer does not have.")
        return self._read(self._verified(token, key, algorithm))

    def _verified(self, token: str, key: PyJWK, algorithm: str) -> dict[str, Any]:
        settings = self._settings
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenRefused("The token has expired.") from None
        except jwt.InvalidAudienceError:
            raise TokenRefused("The token is for another audience.") from None
        except jwt.InvalidIssuerError:
            raise TokenRefused("The token is of another issuer.") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefused(f"The token has no claim {error.claim!r}.") from None
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, TypeError, ValueError):
            raise TokenRefused("The token is not valid.") from None

    def _read(self, claims: dict[str, Any]) -> Claims:
        subject = _text(claims.get("sub"), 255)
        if subject is None:
            raise TokenRefused("The token's claim 'sub' must be a text of 1 to 255 characters.")
        email = _text(claims.get(self._settings.email_claim), 320)
        if email is None or "@" not in email or claims.get("email_verified", True) is not True:
            email = None
        name = _text(claims.get(self._settings.name_claim), 200) or email or subject[:200]
        return Claims(
            issuer=self._settings.issuer,
            subject=subject,
            email=email.lower() if email else None,
            name=name,
            expires_at=_time(int(claims["exp"]) + self._settings.leeway_seconds),
        )


def _time(seconds: float) -> datetime:
    """The nearest one that there is: a token may be made out for ever."""
    return datetime.fromtimestamp(min(seconds, _LAST), UTC)


def _text(value: object, longest: int) -> str | None:
    """The text if it can be stored: without NUL, and without halves of characters, which JSON can write."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\0" in value:
        return None
    return None if any("\ud800" <= character <= "\udfff" for character in value) else value
