"""What an API key may be limited to, and which scope a call needs. Pure.

One table for all routes: a path that no line of it names is closed to every key that has scopes.
"""

from collections.abc import Collection
from enum import StrEnum

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Scope(StrEnum):
    """A key without any may do all that its user may. None contains another one."""

    EXECUTIONS_READ = "executions:read"
    EXECUTIONS_WRITE = "executions:write"
    """Start, stop, keep."""
    ENGINES_READ = "engines:read"
    """Models too."""
    ENGINES_WRITE = "engines:write"
    USAGE_READ = "usage:read"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    """A key with scopes makes and replaces only keys with scopes of its own."""
    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    """The user's own password, sessions and data."""
    ADMIN = "admin"
    """All calls for superadmins; the role is needed as well."""


ALL = "all"
"""Told as missing where no scope opens a call: it needs a key without scopes."""

_OPEN = frozenset({"/v1/me"})
"""Who I am: any good key may ask."""

_RULES: tuple[tuple[str, str, str], ...] = (
    # beginning of the path, scope for reading, scope for anything else
    ("/v1/admin", Scope.ADMIN, Scope.ADMIN),
    ("/v1/executions", Scope.EXECUTIONS_READ, Scope.EXECUTIONS_WRITE),
    ("/v1/engines", Scope.ENGINES_READ, Scope.ENGINES_WRITE),
    ("/v1/models", Scope.ENGINES_READ, Scope.ENGINES_WRITE),
    ("/v1/usage", Scope.USAGE_READ, ALL),
    ("/v1/keys", Scope.KEYS_READ, Scope.KEYS_WRITE),
    ("/v1/me", Scope.ACCOUNT_READ, Scope.ACCOUNT_WRITE),
    ("/v1/session", Scope.ACCOUNT_READ, Scope.ACCOUNT_WRITE),
)


def needed(method: str, path: str) -> str | None:
    """The scope that a call needs; None when any good key will do; `all` when no scope is enough."""
    if path in _OPEN and method in READING:
        return None
    for beginning, reading, writing in _RULES:
        if path == beginning or path.startswith(f"{beginning}/"):
            return reading if method in READING else writing
    return ALL


def missing(method: str, path: str, scopes: Collection[str]) -> str | None:
    """The scope that is needed and not there; None when the call may be made."""
    wanted = needed(method, path)
    return None if not scopes or wanted is None or wanted in scopes else wanted


def within(scopes: Collection[str], own: Collection[str]) -> bool:
    """Whether a key with these scopes may do no more than one with `own`."""
    return not own or (bool(scopes) and set(scopes) <= set(own))
