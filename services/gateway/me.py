"""Who the caller is, and what model provider this system uses."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Response

from services.gateway.auth import User
from services.gateway.execution_answers import MeAnswer
from services.gateway.parts import Parts, get_parts

router = APIRouter(tags=["account"])


@router.get("/v1/me", response_model=MeAnswer, summary="Who I am")
async def me(principal: User, parts: Annotated[Parts, Depends(get_parts)]) -> Response:
    body = {
        "user_id": principal.user_id,
        "email": principal.email,
        "name": principal.name,
        "role": principal.role,
        "provider": parts.settings.provider,
        "limits": parts.settings.largest_limits().model_dump(),
        "retention_hours": parts.settings.retention_hours,
    }
    return Response(orjson.dumps(body), 200, {"Cache-Control": "no-store"}, "application/json")
