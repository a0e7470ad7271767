"""Engines and models, remembered for a short while. A change is broadcast to every gateway after its commit."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway import engine_store, model_store
from services.gateway.engine_store import EngineRow
from services.gateway.engine_warnings import SOON, Retirement
from services.gateway.model_store import ModelRow
from services.gateway.problems import Problem
from services.gateway.remembered import Ages, Remembered
from shared.subjects import CHANGED_MODELS
from shared.usage import Tier
from shared.validation import Unfit
from shared.workflow import ENGINE_ID_PATTERN, Engine

CHANGED_ENGINES = "changed.engines"
"""Core NATS subject: the id of an engine that was changed, or nothing for all."""
AGES = Ages(fresh=30.0, soon=60.0, stale=3600.0)
"""What is remembered is asked for again, in case a broadcast was lost."""
REMEMBERED = 5_000

_ENGINE_ID = re.compile(ENGINE_ID_PATTERN)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEngine:
    owner_id: str
    definition: Engine
    version: int
    shared: bool
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Models:
    """The catalogue of models at one moment."""

    rows: tuple[ModelRow, ...] = ()

    def known(self, now: datetime) -> frozenset[str]:
        """Names that an engine may use."""
        return frozenset(row.name for row in self.rows if not row.retired(now) and row.answers_with_text())

    def unfit(self) -> Unfit:
        """What is in the catalogue, and can not do what an engine may ask for."""
        return Unfit(
            for_text=frozenset(row.name for row in self.rows if not row.answers_with_text()),
            for_schemas=frozenset(row.name for row in self.rows if not row.can("structured_output")),
        )

    def successors(self, now: datetime) -> dict[str, str]:
        """For each retired name the one to take instead, if there is one that is not retired itself."""
        after = {row.name: row.successor for row in self.rows if row.retired(now)}
        found = {name: _last(after, name) for name in after}
        return {name: successor for name, successor in found.items() if successor is not None}

    def retiring(self, now: datetime) -> dict[str, Retirement]:
        """Names that an engine may use now, and soon not any more."""
        return {
            row.name: Retirement(row.retired_at, self.successors(row.retired_at).get(row.name))
            for row in self.rows
            if row.retired_at is not None and now < row.retired_at <= now + SOON
        }

    def tiers(self, names: Iterable[str]) -> dict[str, Tier]:
        """What is not known to be included is paid for."""
        known = {row.name: row.tier for row in self.rows}
        return {name: known.get(name, Tier.PAYG) for name in names}


def _last(after: Mapping[str, str | None], name: str) -> str | None:
    """The end of the chain of successors that begins with `name`; None for a chain without a usable end."""
    for _ in after:
        successor = after[name]
        if successor is None or successor not in after:
            return successor
        name = successor
    return None


def is_engine_id(text: str) -> bool:
    return _ENGINE_ID.fullmatch(text) is not None


class Catalogue:
    """Async context manager; inside it, broadcasts are heard."""

    def __init__(self, db: AsyncEngine, nc: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._nc = nc
        self._engines: Remembered[tuple[str, str], StoredEngine] = Remembered(
            self._find, AGES, most=REMEMBERED, clock=clock
        )
        self._models: Remembered[None, Models] = Remembered(self._find_models, AGES, most=1, clock=clock)
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> "Catalogue":
        self._subscriptions = [
            await self._nc.subscribe(CHANGED_ENGINES, cb=self._hear_engines),
            await self._nc.subscribe(CHANGED_MODELS, cb=self._hear_models),
        ]
        await self._nc.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for subscription in self._subscriptions:
            if not self._nc.is_closed:
                await subscription.unsubscribe()

    async def engine(self, user_id: str, engine_id: str) -> StoredEngine | None:
        """A user's own engine of that id, else the shared one.

        Raises: Unavailable, when it is not in memory and Postgres does not answer; Problem 409, when its definition
        can not be read by this release.
        """
        if not is_engine_id(engine_id):
            return None
        return await self._engines.get((user_id, engine_id))

    async def _find(self, key: tuple[str, str]) -> StoredEngine | None:
        row = await engine_store.visible(self._db, *key)
        return None if row is None else _read(row)

    async def models(self) -> Models:
        """Raises: Unavailable, when they are not in memory and Postgres does not answer."""
        return await self._models.get(None) or Models()

    async def _find_models(self, _: None) -> Models:
        return Models(tuple(await model_store.models(self._db)))

    async def tiers(self, names: Iterable[str]) -> Mapping[str, Tier]:
        """The tier of each of these models. Raises: Unavailable."""
        wanted = list(names)
        return (await self.models()).tiers(wanted) if wanted else {}

    async def known_models(self) -> frozenset[str]:
        """Names that engines may use now. Raises: Unavailable."""
        return (await self.models()).known(datetime.now(UTC))

    async def changed(self, engine_id: str) -> None:
        """To be called after the commit: forgets the engine here, and tells the other gateways."""
        self._forget(engine_id)
        await self._broadcast(CHANGED_ENGINES, engine_id)

    async def models_changed(self) -> None:
        """To be called after the commit: forgets the models here, and tells the other gateways."""
        self._forget_models()
        await self._broadcast(CHANGED_MODELS, "")

    async def _broadcast(self, subject: str, what: str) -> None:
        try:
            await self._nc.publish(subject, what.encode())
        except NatsError as error:
            _log.warning("%s was not broadcast: %s; others see it within %.0f s", subject, error, AGES.soon)

    async def _hear_engines(self, msg: Msg) -> None:
        self._forget(msg.data.decode(errors="replace"))

    async def _hear_models(self, _: Msg) -> None:
        self._forget_models()

    def _forget_models(self) -> None:
        self._models.forget(lambda _, __: True)

    def _forget(self, engine_id: str) -> None:
        self._engines.forget(lambda key, _: not engine_id or key[1] == engine_id)


def _read(row: EngineRow) -> StoredEngine:
    try:
        definition = Engine.model_validate(row.definition)
    except ValidationError:
        detail = (
            f"Engine {row.id} was stored by another release and can not be read; put its definition again."
        )
        raise Problem(409, "engine_unreadable", "The engine can not be read", detail) from None
    return StoredEngine(
        owner_id=row.owner_id,
        definition=definition,
        version=row.version,
        shared=row.shared,
        updated_at=row.updated_at,
    )
