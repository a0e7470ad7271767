"""What the command line says when it can not do what was asked."""

from __future__ import annotations

import json
import re
from typing import Any

from deploy.local.client import Refused
from shared.errors import LekhikaError


def as_text(problem: LekhikaError | OSError) -> str:
    if isinstance(problem, LekhikaError):
        return str(problem)
    told = problem.strerror or str(problem)
    return f"{problem.filename}: {told}" if problem.filename else told


def as_json(problem: LekhikaError | OSError) -> str:
    """A refusal of the gateway keeps its code; everything else is named after its kind."""
    if isinstance(problem, Refused):
        told = problem.problem
        code, detail = told.get("code") or "refused", told.get("detail") or told.get("title") or str(problem)
        return error_json(str(code), str(detail), status=problem.status, errors=told.get("errors") or [])
    code = "file_error" if isinstance(problem, OSError) else _snake_case(type(problem).__name__)
    return error_json(code, as_text(problem))


def error_json(code: str, detail: str, *, status: int | None = None, errors: Any = ()) -> str:
    """One line; `status` is that of HTTP, null when no answer came or none was asked for."""
    error = {"code": code, "status": status, "detail": detail, "errors": list(errors)}
    return json.dumps({"error": error}, ensure_ascii=False)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
