"""Query parameters that a call does not have are refused, as unknown fields of a body are: misspelt, they would do nothing."""

import functools
from collections.abc import Callable
from typing import Any

from fastapi import Request, params
from fastapi.dependencies.utils import get_dependant, get_flat_params
from fastapi.routing import APIRoute

from services.gateway.problems import FieldError, invalid
from shared.findings import did_you_mean


async def refuse_unknown(request: Request) -> None:
    """A dependency of every route. Raises: Problem 422, naming each."""
    if not request.query_params:
        return
    route: APIRoute = request.scope["route"]
    known = _names(route.path_format, route.endpoint)
    faults = [
        FieldError(name[:100], _detail(name, known)) for name in request.query_params if name not in known
    ]
    if faults:
        raise invalid("Some of the request's parameters are not known.", faults)


def _detail(name: str, known: frozenset[str]) -> str:
    if not known:
        return "is not known: this call has no parameters"
    nearest = did_you_mean(name.replace("-", "_").lower(), known)
    return "is not known" + (nearest or f"; there is {', '.join(sorted(known))}")


@functools.cache
def _names(path: str, endpoint: Callable[..., Any]) -> frozenset[str]:
    """Kept: to find them takes longer than many an answer."""
    fields = get_flat_params(get_dependant(path=path, call=endpoint))
    return frozenset(field.alias for field in fields if isinstance(field.field_info, params.Query))
