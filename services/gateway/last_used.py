"""When keys and sessions were used last, written beside the requests: at most once a minute for each."""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway.principal import Principal
from services.gateway.settings import GatewaySettings
from shared.db import Role, transaction
from shared.errors import Unavailable
from shared.tasks import cancel_and_wait, spawn

EVERY_SECONDS = 60.0
REMEMBERED = 20_000

_KEYS = text("""
UPDATE api_keys SET last_used_at = now()
WHERE id = ANY(CAST(:ids AS uuid[])) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")
_SESSIONS = text("""
UPDATE sessions
SET expires_at = least(created_at + make_interval(secs => :longest), now() + make_interval(secs => :idle))
WHERE id = ANY(CAST(:ids AS uuid[])) AND expires_at > now()
""")

_log = logging.getLogger(__name__)


class LastUsed:
    """Takes notes of uses, and writes them while `running`. What is not written is lost: it is only a hint."""

    def __init__(self, db: AsyncEngine, settings: GatewaySettings, clock: Callable[[], float]) -> None:
        self._db = db
        self._lengths = {"idle": settings.session_idle_seconds, "longest": settings.session_seconds}
        self._clock = clock
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._keys: set[str] = set()
        self._sessions: set[str] = set()
        self._some = asyncio.Event()

    def note(self, principal: Principal) -> None:
        """Does not wait."""
        waiting = self._keys if principal.key_id else self._sessions
        used = principal.key_id or principal.session_id
        now = self._clock()
        if used is None or now - self._noted.get(used, float("-inf")) < EVERY_SECONDS:
            return
        self._noted[used] = now
        self._noted.move_to_end(used)
        if len(self._noted) > REMEMBERED:
            self._noted.popitem(last=False)
        waiting.add(used)
        self._some.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = spawn(self._write_all(), name="last used")
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _write_all(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            keys, self._keys = self._keys, set()
            sessions, self._sessions = self._sessions, set()
            try:
                await self._write(keys, sessions)
            except (
                Unavailable,
                SQLAlchemyError,
            ) as error:  # without this task no session would slide any more
                _log.warning("when keys were used last can not be written: %s", error)

    async def _write(self, keys: set[str], sessions: set[str]) -> None:
        async with transaction(self._db, role=Role.AUTH) as connection:
            if keys:
                await connection.execute(_KEYS, {"ids": sorted(keys)})
            if sessions:
                await connection.execute(_SESSIONS, {"ids": sorted(sessions), **self._lengths})
