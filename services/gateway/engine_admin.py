"""Routes of engines for superadmins."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from services.gateway import engine_problems, engine_store
from services.gateway.auth import Superadmin
from services.gateway.catalogue import is_engine_id
from services.gateway.engines import GatewayParts
from services.gateway.model_bodies import Reason
from shared import audit
from shared.db import Role, transaction

router = APIRouter(prefix="/v1/admin/engines", tags=["admin"])


class Unshared(BaseModel):
    """Its `owners`, usually one, have it still, each for himself."""

    id: str
    owners: list[str]
    shared: bool


@router.delete(
    "/{engine_id}/sharing", summary="Let nobody but its author see and run a shared engine any more"
)
async def unshare(
    engine_id: str,
    parts: GatewayParts,
    principal: Superadmin,
    reason: Annotated[Reason | None, Query()] = None,
) -> Unshared:
    if not is_engine_id(engine_id):
        raise engine_problems.not_shared(engine_id)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        owners = await engine_store.unshare(connection, engine_id)
        if not owners:
            raise engine_problems.not_shared(engine_id)
        await audit.record(
            connection,
            actor=principal.user_id,
            action="engines.unshare",
            target=engine_id,
            details={"owners": list(owners)},
            reason=reason,
        )
    await parts.catalogue.changed(engine_id)
    return Unshared(id=engine_id, owners=list(owners), shared=False)
