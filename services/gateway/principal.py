"""Somebody who may call."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """No scopes: all that the role may do.

    By what it was proved: `key_id` for an API key, `session_id` for a session of the console, neither for a token of
    an identity provider.
    """

    user_id: str
    role: Literal["user", "superadmin"]
    scopes: frozenset[str] = frozenset()
    email: str | None = None
    name: str = ""
    key_id: str | None = None
    session_id: str | None = None
    proof: bytes | tuple[str, str] = field(default=b"", repr=False, compare=False)
    """The digest of the key or the session, or issuer and subject of the token."""
    until: datetime | None = field(default=None, compare=False)
    """When the token expires; keys and sessions are asked about again."""

    @property
    def superadmin(self) -> bool:
        return self.role == "superadmin"

    @property
    def credential(self) -> str:
        """Id of the key or the session; of the user for a token."""
        return self.key_id or self.session_id or self.user_id
