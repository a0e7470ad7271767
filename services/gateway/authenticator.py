"""From a key, a session's cookie or a provider's token to a `Principal`, remembered for a short while.

Keys and sessions are remembered by their digests, so that stops and live views work while Postgres is away.
"""

import contextlib
import functools
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncEngine

from services.gateway import identity_store
from services.gateway.digests import digest
from services.gateway.identity_tokens import Claims
from services.gateway.principal import Principal
from services.gateway.remembered import Ages, Remembered
from shared.db import Role, transaction
from shared.tables import api_keys, sessions, user_identities, users

CHANGED_KEYS = "changed.keys"
"""Core NATS subject: the id of a key, a session or a user that was changed or revoked, or nothing for all."""
AGES = Ages(fresh=15.0, soon=60.0, stale=3600.0)
"""A revocation that is broadcast counts at once. If its broadcast was missed, the key still ends: at the first use after a minute,
or a moment after its first use after 15 s; while Postgres does not answer, after an hour."""
REMEMBERED = 20_000

_log = logging.getLogger(__name__)

_KEY = re.compile(r"lk_[A-Za-z0-9_-]{16,200}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_PERSON = tuple(users.c[name] for name in ("role", "email", "display_name"))


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    expires_at: datetime | None = None
    csrf: str = ""

    @property
    def expired(self) -> bool:
        return _over(self.expires_at)


Guard = Callable[[Callable[[], Awaitable[_Known | None]]], Awaitable[_Known | None]]
"""What a question to Postgres goes through, such as a limit; it raises what forbids it."""


@dataclass(frozen=True, slots=True)
class Session:
    principal: Principal
    csrf: str
    """Must come back in a header with whatever changes something."""


class Authenticator:
    """Finds principals, from memory where it can. All of it raises Unavailable when Postgres does not answer and
    nothing is remembered.
    """

    def __init__(self, db: AsyncEngine, nc: Client) -> None:
        self._db = db
        self._nc = nc
        self._keys: Remembered[bytes, _Known] = Remembered(self._find_key, AGES, most=REMEMBERED)
        self._sessions: Remembered[bytes, _Known] = Remembered(self._find_session, AGES, most=REMEMBERED)
        self._identities: Remembered[tuple[str, str], _Known] = Remembered(
            self._find_identity, AGES, most=REMEMBERED
        )
        self._watches: set[tuple[frozenset[str | None], Callable[[], None]]] = set()

    async def by_key(self, key: str, guard: Guard) -> Principal | None:
        """None for a key that is malformed, unknown, revoked or expired, or whose user is disabled."""
        if _KEY.fullmatch(key) is None:
            return None
        known = await _guarded(self._keys, digest(key), guard)
        return None if known is None or known.expired else known.principal

    async def by_session(self, cookie: str, guard: Guard) -> Session | None:
        """None for a session that is unknown, ended or expired, or whose user is disabled."""
        if _SESSION.fullmatch(cookie) is None:
            return None
        known = await _guarded(self._sessions, digest(cookie), guard)
        return None if known is None or known.expired else Session(known.principal, known.csrf)

    async def by_claims(self, claims: Claims) -> Principal | None:
        """Creates the user at first sight. None for one who is disabled or anonymised."""
        identity = (claims.issuer, claims.subject)
        known = await self._identities.get(identity)
        if known is None:
            await identity_store.create(self._db, claims)
            known = await self._identities.anew(identity)  # another's question may be older than the person
        return None if known is None else replace(known.principal, until=claims.expires_at)

    async def stands(self, principal: Principal) -> bool:
        """Whether a new request with the same key, session or token would be let in as the same. Raises: Unavailable."""
        known = None if _over(principal.until) else await self._memory(principal).get(principal.proof)
        return known is not None and not known.expired and known.principal == principal

    def _memory(self, principal: Principal) -> Remembered[Any, _Known]:
        if principal.key_id is not None:
            return self._keys
        return self._identities if principal.session_id is None else self._sessions

    async def _find_key(self, wanted: bytes) -> _Known | None:
        columns = (api_keys.c[name] for name in ("id", "user_id", "scopes", "expires_at"))
        query = select(*columns, *_PERSON).join_from(api_keys, users, users.c.id == api_keys.c.user_id)
        row = await self._one(query.where(api_keys.c.digest == wanted, api_keys.c.revoked_at.is_(None)))
        if row is None:
            return None
        principal = Principal(**_person(row), key_id=row.id, scopes=frozenset(row.scopes), proof=wanted)
        return _Known(principal, row.expires_at)

    async def _find_session(self, wanted: bytes) -> _Known | None:
        columns = (sessions.c[name] for name in ("id", "user_id", "expires_at", "csrf"))
        query = select(*columns, *_PERSON).join_from(sessions, users, users.c.id == sessions.c.user_id)
        row = await self._one(query.where(sessions.c.digest == wanted))
        if row is None:
            return None
        principal = Principal(**_person(row), session_id=row.id, proof=wanted)
        return _Known(principal, row.expires_at, row.csrf)

    async def _find_identity(self, identity: tuple[str, str]) -> _Known | None:
        issuer, subject = identity
        own = user_identities.c
        query = select(own.user_id, *_PERSON).join_from(user_identities, users, users.c.id == own.user_id)
        row = await self._one(query.where(own.issuer == issuer, own.subject == subject))
        return None if row is None else _Known(Principal(**_person(row), proof=identity))

    async def _one(self, query: Select[*tuple[object, ...]]) -> Row[*tuple[object, ...]] | None:
        """The row, if its person may call."""
        may_call = users.c.disabled_at.is_(None) & users.c.anonymised_at.is_(None)
        async with transaction(self._db, role=Role.AUTH) as connection:
            return (await connection.execute(query.where(may_call))).one_or_none()

    @contextlib.contextmanager
    def watching(self, principal: Principal, changed: Callable[[], None]) -> Iterator[None]:
        """Calls `changed` whenever something about the key, the session or the user is broadcast."""
        watch = (frozenset({principal.key_id, principal.session_id, principal.user_id}), changed)
        self._watches.add(watch)
        try:
            yield
        finally:
            self._watches.discard(watch)

    async def changed(self, changed_id: str) -> None:
        """After the commit: what every gateway remembers of this key, session or user is forgotten at once.

        Never fails: what is done is done, and a key that is shown once must get to its owner.
        """
        self._forget(changed_id)
        try:
            await self._nc.publish(CHANGED_KEYS, changed_id.encode())
        except NatsError as error:
            _log.error(
                "a change of keys was not broadcast; others see it within %.0f s: %s", AGES.soon, error
            )

    async def hear(self, msg: Msg) -> None:
        """A broadcast on `changed.keys`."""
        self._forget(msg.data.decode(errors="replace"))

    def _forget(self, changed_id: str) -> None:
        def meant(_: object, known: _Known) -> bool:
            who = known.principal
            return not changed_id or changed_id in (who.key_id, who.session_id, who.user_id)

        for remembered in (self._keys, self._sessions, self._identities):
            remembered.forget(meant)
        for ids, changed in tuple(self._watches):
            if not changed_id or changed_id in ids:
                changed()


async def _guarded(memory: Remembered[bytes, _Known], wanted: bytes, guard: Guard) -> _Known | None:
    """What is remembered is not a question."""
    ask = functools.partial(memory.get, wanted)
    return await (ask() if memory.has(wanted) else guard(ask))


def _now() -> datetime:
    return datetime.now(UTC)


def _over(time: datetime | None) -> bool:
    return time is not None and time <= _now()


def _person(row: Row[*tuple[object, ...]]) -> dict[str, Any]:
    return {"user_id": row.user_id, "role": row.role, "email": row.email, "name": row.display_name}
