"""Publishing: a checked definition becomes the newest version, if nobody came first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from services.gateway import engine_history, engine_problems, engine_store
from services.gateway.auth import Principal
from services.gateway.catalogue import is_engine_id
from services.gateway.engine_answers import STORED_FIELDS
from services.gateway.engine_history import Draft
from services.gateway.engine_problems import NodeError
from services.gateway.engine_store import EngineRow, Published
from services.gateway.parts import Parts
from shared import audit
from shared.db import Role, transaction
from shared.validation import InvalidDefinition, validate_engine
from shared.workflow import Engine

MOST_ENGINES = 500
"""Of one user, drafts of new ones included."""
_TAG = re.compile(r'(?:W/)?"(\d{1,10}-[0-9a-f]{1,16})"')


@dataclass(frozen=True, slots=True)
class IfMatch:
    """The condition of a request: only if the caller's own published version is one of these. Weak tags count too:
    a proxy that compresses weakens them.
    """

    tags: frozenset[str]
    any: bool = False

    @classmethod
    def of(cls, header: str | None) -> "IfMatch | None":
        """None without the header. A tag that is none of ours fits nothing."""
        if header is None:
            return None
        return cls(frozenset(_TAG.findall(header)), header.strip() == "*")

    def fits(self, newest: Published | None) -> bool:
        return newest is not None and (self.any or newest.tag in self.tags)


async def visible(parts: Parts, principal: Principal, engine_id: str) -> EngineRow:
    """One's own engine of that id, else the shared one. Raises: Problem 404; Unavailable."""
    row = (
        await engine_store.visible(parts.db, principal.user_id, engine_id)
        if is_engine_id(engine_id)
        else None
    )
    if row is None:
        raise engine_problems.not_found(engine_id)
    return row


async def own(parts: Parts, principal: Principal, engine_id: str) -> EngineRow:
    """Raises: Problem 404, or 403 for a shared engine of somebody else; Unavailable."""
    row = await visible(parts, principal, engine_id)
    if row.owner_id != principal.user_id:
        raise engine_problems.shared_by_another(engine_id)
    return row


def named(definition: dict[str, Any], engine_id: str) -> dict[str, Any]:
    """The definition with the id of the address, without what only answers have. Raises: Problem 422."""
    if definition.setdefault("id", engine_id) != engine_id:
        detail = f"must be {engine_id[:100]!r}, as in the address, or left out"
        raise engine_problems.refused([NodeError("id", detail, None)])
    return {key: value for key, value in definition.items() if key not in STORED_FIELDS}


async def checked(parts: Parts, principal: Principal, definition: Mapping[str, Any]) -> Engine:
    """Raises: InvalidDefinition; Problem 429; Unavailable."""
    models = await parts.catalogue.models()
    now = datetime.now(UTC)
    wanted = {key: value for key, value in definition.items() if key not in STORED_FIELDS}
    check = partial(validate_engine, wanted, models.known(now), models.successors(now), models.unfit())
    return await parts.engine_checks.run(principal.user_id, check)


async def publish(
    parts: Parts,
    principal: Principal,
    definition: Mapping[str, Any],
    condition: IfMatch | None,
    draft: Draft | None = None,
) -> tuple[bool, EngineRow]:
    """Whether the engine is new, and the engine as it is now. The draft that it came from goes with it.

    Raises: Problem 422 for a wrong definition, 412 if the condition does not fit, 409 if the draft was changed
    meanwhile or the user has too many engines, 429 if many of the user's definitions are being checked; Unavailable.
    """
    try:
        engine = await checked(parts, principal, definition)
    except InvalidDefinition as invalid:
        raise engine_problems.refused(engine_problems.errors_of(invalid)) from None
    owner_id = principal.user_id
    async with transaction(parts.db, role=Role.USER, user_id=owner_id) as connection:
        if condition is not None:
            newest = await engine_store.locked(connection, owner_id, engine.id)
            if not condition.fits(newest):
                raise engine_problems.changed_meanwhile(engine.id, newest.version if newest else None)
        if draft is not None and not await engine_history.drop_draft(
            connection, owner_id, engine.id, draft.updated_at
        ):
            raise engine_problems.draft_changed(engine.id)
        if await engine_store.count_others(connection, owner_id, engine.id) >= MOST_ENGINES:
            raise engine_problems.too_many(MOST_ENGINES)
        stored = await engine_store.put(connection, owner_id, engine)
        if stored.shared:  # what others run has changed
            details = {"version": stored.version}
            await audit.record(
                connection, actor=owner_id, action="engines.publish", target=engine.id, details=details
            )
    await parts.catalogue.changed(engine.id)
    row = EngineRow(
        owner_id=owner_id,
        id=engine.id,
        version=stored.version,
        shared=stored.shared,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
        definition=engine_store.definition_json(engine),
    )
    return stored.created, row
