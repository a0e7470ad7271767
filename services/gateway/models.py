"""Routes of models: what users may name in their engines, and the catalogue as superadmins keep it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime
from sqlalchemy.ext.asyncio import AsyncConnection

from services.gateway import model_problems, model_refresh, model_store
from services.gateway.auth import Principal, Superadmin, User
from services.gateway.model_bodies import (
    NAME_PATTERN,
    AdminModel,
    AdminModelList,
    Model,
    ModelBody,
    ModelList,
    ModelName,
    PriceBody,
    Reason,
    Refreshed,
    Retired,
)
from services.gateway.model_store import ModelRow
from services.gateway.parts import Parts, get_parts
from services.gateway.price_rules import PriceRefused, change
from shared import audit
from shared.db import Role, transaction

router = APIRouter(tags=["models"])
admin = APIRouter(prefix="/v1/admin/models", tags=["admin"])

GatewayParts = Annotated[Parts, Depends(get_parts)]
Name = Annotated[str, Path(pattern=NAME_PATTERN, description="May contain slashes, as in `openai/llama3`")]


@router.get("/v1/models", summary="Models that engines may name, and retired ones with their successors")
async def list_models(parts: GatewayParts, _: User, response: Response) -> ModelList:
    now = datetime.now(UTC)
    response.headers["Cache-Control"] = "no-store"
    return ModelList(items=[Model.of(row, now) for row in (await parts.catalogue.models()).rows])


@admin.get("", summary="All models with their prices, past and future ones too")
async def list_priced(parts: GatewayParts, _: Superadmin, response: Response) -> AdminModelList:
    now = datetime.now(UTC)
    response.headers["Cache-Control"] = "no-store"
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        rows = await model_store.all_models(connection)
        prices = await model_store.prices(connection)
    return AdminModelList(items=[AdminModel.priced(row, prices.get(row.name, ()), now) for row in rows])


@admin.post("/refresh", summary="Take over what the provider lists; never a tier, never a removal")
async def refresh(parts: GatewayParts, principal: Superadmin) -> Refreshed:
    listing = await model_refresh.ask(parts.nc)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        known = await model_store.lock(connection)
        found = model_refresh.compare(known, listing, datetime.now(UTC))
        for row in found.rows:
            await model_store.put(connection, row)
        await _audit(connection, principal, "models.refresh", "*", found.answer.model_dump())
    await parts.catalogue.models_changed()
    return found.answer


@admin.put(
    "/{name:path}",
    responses={201: {"model": AdminModel, "description": "It is new."}},
    summary="Create or replace a model; its prices stay",
)
async def put_model(
    name: Name, body: ModelBody, parts: GatewayParts, principal: Superadmin, response: Response
) -> AdminModel:
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        known = await model_store.lock(connection)
        row = ModelRow(
            name=name,
            tier=body.tier,
            capabilities=body.capabilities.model_dump(),
            input_limit=body.input_limit,
            output_limit=body.output_limit,
            retired_at=body.retired_at,
            successor=body.successor,
            unlisted_at=known[name].unlisted_at if name in known else None,
        )
        _check_successor(known, row)
        await model_store.put(connection, row)
        await _audit(connection, principal, "models.put", name, body.model_dump(mode="json"), body.reason)
        answer = await _priced(connection, name)
    await parts.catalogue.models_changed()
    response.status_code = 200 if name in known else 201
    return answer


@admin.delete("/{name:path}", summary="Retire a model; it stays in the catalogue and names its successor")
async def retire(
    name: Name,
    parts: GatewayParts,
    principal: Superadmin,
    successor: Annotated[ModelName | None, Query(description="What to take instead")] = None,
    at: Annotated[AwareDatetime | None, Query(description="From when on; now without it")] = None,
    reason: Annotated[Reason | None, Query()] = None,
) -> Retired:
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        known = await model_store.lock(connection)
        if name not in known:
            raise model_problems.not_found(name)
        row = replace(known[name], retired_at=at or datetime.now(UTC), successor=successor)
        _check_successor(known, row)
        await model_store.put(connection, row)
        details = {"successor": successor, "at": row.retired_at.isoformat() if row.retired_at else None}
        await _audit(connection, principal, "models.retire", name, details, reason)
        answer = await _priced(connection, name)
        used_by = await model_store.used_by(connection, name)
    await parts.catalogue.models_changed()
    return Retired(**dict(answer), used_by=used_by)


@admin.post("/{name:path}/prices", summary="Set prices from a moment on; what has begun is never changed")
async def set_prices(name: Name, body: PriceBody, parts: GatewayParts, principal: Superadmin) -> AdminModel:
    now = datetime.now(UTC)
    async with transaction(parts.db, role=Role.ADMIN) as connection:
        if name not in await model_store.lock(connection):
            raise model_problems.not_found(name)
        there = (await model_store.prices(connection, name)).get(name, [])
        try:
            todo = change(there, body.rows(body.valid_from or now), now)
        except PriceRefused as refusal:
            raise model_problems.price_refused(refusal) from None
        await model_store.set_prices(connection, name, todo.dropped, todo.added)
        if todo.added:
            details = body.model_dump(mode="json", exclude_none=True)
            await _audit(connection, principal, "models.price", name, details, body.reason)
        answer = await _priced(connection, name)
    await parts.catalogue.models_changed()
    return answer


def _check_successor(known: Mapping[str, ModelRow], row: ModelRow) -> None:
    """Raises: Problem 422, when it is not in the catalogue, or leads back to the model itself."""
    seen: set[str] = set()
    step = row.successor
    while step is not None and step not in seen:
        if step == row.name:
            raise model_problems.bad_successor(f"leads back to {row.name} itself")
        if step not in known:
            raise model_problems.bad_successor(f"there is no model {step!r} in the catalogue")
        seen.add(step)
        step = known[step].successor


async def _priced(connection: AsyncConnection, name: str) -> AdminModel:
    (row,) = [row for row in await model_store.all_models(connection) if row.name == name]
    prices = await model_store.prices(connection, name)
    return AdminModel.priced(row, prices.get(name, ()), datetime.now(UTC))


async def _audit(
    connection: AsyncConnection,
    principal: Principal,
    action: str,
    target: str,
    details: Mapping[str, Any],
    reason: str | None = None,
) -> None:
    await audit.record(
        connection, actor=principal.user_id, action=action, target=target, details=details, reason=reason
    )
