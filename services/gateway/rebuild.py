"""`python -m services.gateway.rebuild`: the read model of executions anew from the log, while everything runs.

The log is folded in memory first; then, in one transaction that the projector waits for, what came meanwhile is added and
every row that is not what the log says is put right. See docs/decisions/0011.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nats.aio.client import Client
from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.audit_projection import Act, stops_of_others
from services.gateway.projection import Row, project
from services.gateway.projection_feed import log_end, stored_after
from services.gateway.projection_intake import read_item, set_aside
from services.gateway.projection_store import RowStore, held
from shared.db import make_engine
from shared.errors import LekhikaError
from shared.nats import connect
from shared.settings import load

CHUNK = 1000
"""Rows that are compared at once."""
STATEMENT_SECONDS = 60.0


class RebuildSettings(BaseSettings):
    nats_url: SecretStr = Field(validation_alias=AliasChoices("NATS_URL", "nats_url"))
    """Of the user that the gateway has."""
    database_url: SecretStr = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    """Log in as lekhika_gateway."""


@dataclass(slots=True)
class Rebuilt:
    """Rows: how many there are, and how many were not what the log says, or had nothing in it."""

    rows: int = 0
    corrected: int = 0
    removed: int = 0


async def follow(nc: Client, rows: dict[str, Row], acts: list[Act], position: int) -> int:
    """Brings `rows` and `acts` from `position` to the end that the log has now; gives that. Raises: Unavailable."""
    end = await log_end(nc)
    while position < end:
        items = await stored_after(nc, position)
        events = [recorded for item in items if item.shown and (recorded := read_item(item)) is not None]
        changes = project(events, rows)
        acts += stops_of_others(events, rows)
        rows.update({row.id: row for row in changes.rows})
        for key in changes.pruned:
            del rows[key]
        position = items[-1].seq if items else end
    return position


async def rebuild(nc: Client, engine: AsyncEngine) -> Rebuilt:
    """Raises: Unavailable; then nothing was changed."""
    rows: dict[str, Row] = {}
    acts: list[Act] = []
    position = await follow(nc, rows, acts, 0)
    # the first took a while: again, so that little is left for the transaction
    position = await follow(nc, rows, acts, position)
    done = Rebuilt()
    async with held(engine) as store:
        await follow(nc, rows, acts, position)
        await store.note(
            acts
        )  # a projector that is behind will find the rows as they are after these, and no act
        surplus = await store.ids() - rows.keys()
        await store.remove(surplus)
        ids = sorted(rows)
        for start in range(0, len(ids), CHUNK):
            wanted = {key: rows[key] for key in ids[start : start + CHUNK]}
            found = await store.read(wanted)
            wrong = [row for key, row in wanted.items() if found.get(key) != row]
            done.corrected += await _put(store, wrong)
    done.rows, done.removed = len(rows), len(surplus)
    return done


async def _put(store: RowStore, rows: Sequence[Row]) -> int:
    """How many were stored; those that the database refuses are halved until the bad one stands alone."""
    if not rows:
        return 0
    try:
        await store.put(rows)
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            set_aside(rows[0].id, rows[0].last_seq, str(error.orig))
            return 0
        middle = len(rows) // 2
        return await _put(store, rows[:middle]) + await _put(store, rows[middle:])
    return len(rows)


async def _main(settings: RebuildSettings) -> Rebuilt:
    url = settings.database_url.get_secret_value()
    engine = make_engine(url, application="rebuild", pool_size=1, statement_seconds=STATEMENT_SECONDS)
    try:
        nc = await connect(settings.nats_url, "rebuild", lambda reason: None)
        try:
            return await rebuild(nc, engine)
        finally:
            await nc.close()
    finally:
        await engine.dispose()


def main() -> int:
    try:
        done = asyncio.run(_main(load(RebuildSettings)))
    except LekhikaError as error:
        sys.stderr.write(f"rebuild: {error}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(done)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
