"""Who the caller is, and what model provider this system uses."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from services.gateway.auth import Principal, User
from services.gateway.parts import Parts, get_parts
from shared.workflow import Limits

router = APIRouter(tags=["account"])


class Me(BaseModel):
    """`authenticated_by`: what the call was made with. `scopes`: of the key; none for all that the role may do.
    `limits`: the most that one execution may use.
    """

    user_id: str
    email: str | None
    name: str
    role: Literal["user", "superadmin"]
    authenticated_by: Literal["key", "session", "token"]
    scopes: list[str]
    provider: str
    limits: Limits
    retention_hours: float


@router.get("/v1/me", summary="Who I am")
async def me(principal: User, parts: Annotated[Parts, Depends(get_parts)], response: Response) -> Me:
    response.headers["Cache-Control"] = "no-store"
    return Me(
        user_id=principal.user_id,
        email=principal.email,
        name=principal.name,
        role=principal.role,
        authenticated_by=_means(principal),
        scopes=sorted(principal.scopes),
        provider=parts.settings.provider,
        limits=parts.settings.largest_limits(),
        retention_hours=parts.settings.retention_hours,
    )


def _means(principal: Principal) -> Literal["key", "session", "token"]:
    if principal.key_id is not None:
        return "key"
    return "token" if principal.session_id is None else "session"
