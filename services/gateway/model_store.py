"""Models and prices in Postgres: what is read and written, as the role of whoever asks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.gateway.price_rules import PriceRow
from shared.db import Role, transaction
from shared.usage import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model of the catalogue. Limits in tokens, None where they are not known."""

    name: str
    tier: Tier
    provider: str = "gemini"
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    input_limit: int | None = None
    output_limit: int | None = None
    retired_at: datetime | None = None
    successor: str | None = None
    unlisted_at: datetime | None = None

    def retired(self, now: datetime) -> bool:
        return self.retired_at is not None and self.retired_at <= now


_COLUMNS = "name, tier, provider, capabilities, input_limit, output_limit, retired_at, successor, unlisted_at"
_MODELS = text(f"SELECT {_COLUMNS} FROM models ORDER BY name")  # noqa: S608 - names of columns
_LOCK = text("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE")
_PUT = text("""
INSERT INTO models (name, tier, capabilities, input_limit, output_limit, retired_at, successor, unlisted_at)
VALUES (:name, :tier, :capabilities, :input_limit, :output_limit, :retired_at, :successor, :unlisted_at)
ON CONFLICT (name) DO UPDATE SET
    tier = excluded.tier,
    capabilities = excluded.capabilities,
    input_limit = excluded.input_limit,
    output_limit = excluded.output_limit,
    retired_at = excluded.retired_at,
    successor = excluded.successor,
    unlisted_at = excluded.unlisted_at
""").bindparams(bindparam("capabilities", type_=JSONB))
_PRICES = text("""
SELECT model, service_tier, token_kind, threshold, valid_from, currency, price_per_million, version
FROM model_prices
WHERE CAST(:model AS text) IS NULL OR model = :model
ORDER BY model, service_tier, valid_from, threshold, token_kind
""")
_DROP_PRICE = text("DELETE FROM model_prices WHERE version = :version")
_ADD_PRICE = text("""
INSERT INTO model_prices (model, service_tier, token_kind, threshold, valid_from, currency, price_per_million)
VALUES (:model, :service_tier, :token_kind, :threshold, :valid_from, :currency, :price_per_million)
""")
_USED_BY = text("""
SELECT count(*) FROM engines
WHERE jsonb_path_exists(definition::jsonb, '$.**.model ? (@ == $name)', jsonb_build_object('name', CAST(:name AS text)))
""")


async def models(db: AsyncEngine) -> Sequence[ModelRow]:
    """As anybody may see them, in order of their names. Raises: Unavailable."""
    async with transaction(db, role=Role.USER) as connection:
        return await all_models(connection)


async def all_models(connection: AsyncConnection) -> Sequence[ModelRow]:
    rows = await connection.execute(_MODELS)
    return [ModelRow(**{**row, "tier": Tier(row["tier"])}) for row in rows.mappings()]


async def lock(connection: AsyncConnection) -> Mapping[str, ModelRow]:
    """The models by name; until the end of the transaction nobody else changes one. Readers do not wait."""
    await connection.execute(_LOCK)
    return {row.name: row for row in await all_models(connection)}


async def put(connection: AsyncConnection, row: ModelRow) -> None:
    values = {**asdict(row), "tier": row.tier.value, "capabilities": dict(row.capabilities)}
    del values["provider"]  # follows from the name
    await connection.execute(_PUT, values)


async def prices(connection: AsyncConnection, model: str | None = None) -> Mapping[str, Sequence[PriceRow]]:
    """Of one model or of all, by model and in order of their beginnings."""
    found: dict[str, list[PriceRow]] = {}
    for row in (await connection.execute(_PRICES, {"model": model})).mappings():
        found.setdefault(row["model"], []).append(
            PriceRow(**{name: value for name, value in row.items() if name != "model"})
        )
    return found


async def set_prices(
    connection: AsyncConnection, model: str, dropped: Sequence[PriceRow], added: Sequence[PriceRow]
) -> None:
    """A price is never changed in place: what replaces one is a new row with a new version."""
    for price in dropped:
        await connection.execute(_DROP_PRICE, {"version": price.version})
    for price in added:
        await connection.execute(_ADD_PRICE, {**asdict(price), "model": model})


async def used_by(connection: AsyncConnection, model: str) -> int:
    """How many published engines name the model."""
    return int((await connection.execute(_USED_BY, {"name": model})).scalar_one())
