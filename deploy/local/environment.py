"""What each process of the stack finds in its environment."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

GEMINI_URL = "https://generativelanguage.googleapis.com"
LOOPBACK = "127.0.0.1,localhost"
# They belong to the command line, or are set anew for each service.
_NOT_INHERITED = {
    "LEKHIKA_URL",
    "LEKHIKA_API_KEY",
    "LEKHIKA_HOME",
    "LEKHIKA_INSTANCE",
    "NATS_URL",
    "DATABASE_URL",
}
# All that a server needs which is no part of Lekhika; the caller's secrets are none of its business.
_FOR_SERVERS = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Where model calls go. `start_standin` says that the stack runs its own provider at `url`."""

    kind: Literal["stand-in", "gemini"]
    url: str
    key: str
    start_standin: bool
    openai: Mapping[str, str] = field(default_factory=dict)
    """Variables of the OpenAI-compatible endpoint; none when there is no such endpoint."""


def choose_provider(
    *,
    gemini_key: str | None,
    gemini_url: str | None,
    standin_url: str,
    openai: Mapping[str, str] | None = None,
) -> Provider:
    """With a key the real API is meant, with a URL whatever answers there, with neither the own stand-in.

    `openai`: the caller's OPENAI_* variables.
    """
    found = dict(openai or {})
    if gemini_key:
        url = gemini_url or GEMINI_URL
        return Provider(kind="gemini", url=url, key=gemini_key, start_standin=False, openai=found)
    if gemini_url:
        return Provider(kind="stand-in", url=gemini_url, key="stand-in", start_standin=False, openai=found)
    return Provider(kind="stand-in", url=standin_url, key="stand-in", start_standin=True, openai=found)


def openai_variables(caller: Mapping[str, str]) -> dict[str, str]:
    names = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
    return {name: caller[name] for name in names if caller.get(name)}


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would contradict the stack's own settings."""
    kept = {
        name: value
        for name, value in caller.items()
        if name not in _NOT_INHERITED and not name.startswith(("GEMINI_", "GOOGLE_", "OPENAI_", "PG"))
    }
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = ",".join(part for part in (kept.get(name), LOOPBACK) if part)
    kept["PYTHONPATH"] = ":".join(part for part in (str(PROJECT), kept.get("PYTHONPATH")) if part)
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def for_servers(caller: Mapping[str, str]) -> dict[str, str]:
    """What NATS and PostgreSQL find in their environment."""
    return {name: caller[name] for name in _FOR_SERVERS if name in caller}


def service_variables(
    *, nats_url: str, database_url: str | None, provider: Provider, calls_models: bool, host: str, port: int
) -> dict[str, str]:
    """Only what calls models gets the provider's key, only what has a database role gets a database."""
    variables = {
        "NATS_URL": nats_url,
        "LEKHIKA_PROVIDER": provider.kind,
        "LEKHIKA_HTTP_HOST": host,
        "LEKHIKA_HTTP_PORT": str(port),
    }
    if calls_models:
        variables |= {"GEMINI_API_KEY": provider.key, "GEMINI_BASE_URL": provider.url, **provider.openai}
    if database_url is not None:
        variables["DATABASE_URL"] = database_url
    return variables


def python_module(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
