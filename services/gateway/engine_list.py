"""The list of engines and drafts, page by page: what people choose by, without the definitions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MOST_CHARACTERS = 1_000_000
"""Of inputs on one page, unless a single engine has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """`inputs` is JSON as its author wrote it."""

    owner_id: str
    id: str
    name: str
    description: str | None
    version: int
    shared: bool
    updated_at: datetime
    inputs: str

    def specs(self) -> Mapping[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = json.loads(self.inputs)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDraft:
    """`name` is what the draft says, as far as it is a text; `version` that of the published one beside it."""

    id: str
    name: str | None
    version: int | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """`next_cursor` is the last id of the page, if there is more."""

    engines: Sequence[Listed]
    drafts: Sequence[ListedDraft]
    next_cursor: str | None


# Definitions are opened only for the rows of the page. Both lists have the order that Python has.
_ENGINES = text("""
WITH page AS (
    SELECT DISTINCT ON (id COLLATE "C") owner_id, id FROM engines
    WHERE (owner_id = CAST(:user_id AS uuid) OR shared) AND id COLLATE "C" > :after
    ORDER BY id COLLATE "C", (owner_id = CAST(:user_id AS uuid)) DESC, owner_id
    LIMIT :most
)
SELECT owner_id::text, id, name, description, version, shared, updated_at,
    coalesce(definition -> 'inputs', '{}')::text AS inputs
FROM page JOIN engines USING (owner_id, id)
ORDER BY id COLLATE "C"
""")
_DRAFTS = text("""
WITH page AS (
    SELECT * FROM engine_drafts WHERE owner_id = CAST(:user_id AS uuid) AND id COLLATE "C" > :after
    ORDER BY id COLLATE "C" LIMIT :most
)
SELECT page.id, engines.version, page.updated_at,
    CASE json_typeof(page.definition -> 'name') WHEN 'string' THEN left(page.definition ->> 'name', 200) END AS name
FROM page LEFT JOIN engines USING (owner_id, id)
ORDER BY page.id COLLATE "C"
""")


async def visible_page(connection: AsyncConnection, user_id: str, after: str, limit: int) -> Page:
    """A user's own engines and drafts and the shared engines with ids after that one; his own hide shared ones."""
    given = {"user_id": user_id, "after": after, "most": limit + 1}
    engines = [Listed(**row) for row in (await connection.execute(_ENGINES, given)).mappings()]
    drafts = [ListedDraft(**row) for row in (await connection.execute(_DRAFTS, given)).mappings()]
    return cut(engines, drafts, limit)


def cut(engines: Sequence[Listed], drafts: Sequence[ListedDraft], limit: int) -> Page:
    """The first `limit` ids of both lists, of which each has `limit + 1` unless it ends before. Pure."""
    sizes = {draft.id: 0 for draft in drafts} | {engine.id: len(engine.inputs) for engine in engines}
    last, size = "", 0
    for count, found in enumerate(sorted(sizes)):
        size += sizes[found]
        if count == limit or (count and size > MOST_CHARACTERS):
            return Page(
                [engine for engine in engines if engine.id <= last],
                [draft for draft in drafts if draft.id <= last],
                last,
            )
        last = found
    return Page(engines, drafts, None)
