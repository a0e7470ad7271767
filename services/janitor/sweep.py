"""Deletes what no event names in the bucket of artifacts: a crash came between the put and the append, or a stop did.

A whole artifact is one message that names it, and parts; a put that was never finished left parts only. A deleted one
leaves a message that says so. All of it is left alone for an hour: by then whoever put it has appended its event,
or never will.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import nats.errors
from nats.aio.client import Client

from services.janitor import stream
from services.janitor.parts import Parts
from services.janitor.policy import is_orphan
from shared import subjects
from shared.errors import Unavailable, UnknownEvent
from shared.events import ArtifactRef
from shared.jetstream import NOT_FOUND, api, direct_get
from shared.logs import get_logger
from shared.messages import SEQUENCE, TIME, parse_time

AGE = timedelta(hours=1)
EVERY_SECONDS = 1_800.0
"""From the end of one sweep to the start of the next."""
PAGE = 256
"""Artifacts looked at in one round."""
BUCKET = f"OBJ_{subjects.ARTIFACTS}"
NAMES = f"$O.{subjects.ARTIFACTS}.M.>"
PARTS = f"$O.{subjects.ARTIFACTS}.C."

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """The message that names an artifact, or that says that it was deleted. `parts`: the id that its parts have."""

    seq: int
    name: str
    parts: str
    deleted: bool
    stored_at: datetime


class Sweeper:
    """`may_act` is asked before every round: whether this process still leads."""

    def __init__(self, parts: Parts, *, may_act: Callable[[], bool]) -> None:
        self._nc = parts.nc
        self._log = parts.log
        self._artifacts = parts.artifacts
        self._may_act = may_act
        self._position = 0
        self._known: set[str] = set()
        self._not_before = 0.0

    @property
    def resting(self) -> bool:
        """Whether a sweep was finished, and the next is not due yet."""
        return asyncio.get_running_loop().time() < self._not_before

    async def round(self, now: datetime) -> int:
        """Looks at a page of the bucket, or rests; returns how much was deleted. Raises: Unavailable."""
        if self.resting or not self._may_act():
            return 0
        page = await _page(self._nc, self._position)
        deleted = 0
        for entry in page:
            deleted += await self._look(entry, now)
            self._position = entry.seq
        if not page:
            deleted += await self._strays(now)
            self._position, self._known = 0, set()
            self._not_before = asyncio.get_running_loop().time() + EVERY_SECONDS
        return deleted

    async def _look(self, entry: Entry, now: datetime) -> bool:
        if not entry.deleted:
            self._known.add(entry.parts)
        if now - entry.stored_at < AGE:
            return False
        if entry.deleted:
            await stream.delete(self._nc, entry.seq, BUCKET)
            return True
        try:
            history = await self._log.load(entry.name.partition("/")[0])
        except UnknownEvent:
            return False
        if not is_orphan(entry.name, history):
            return False
        try:
            await self._artifacts.delete(ArtifactRef(artifact=entry.name, size=0, sha256=""))
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable("the bucket of artifacts does not answer") from error
        _log.info("artifact deleted that no event names", artifact=entry.name)
        return True

    async def _strays(self, now: datetime) -> int:
        """Parts of artifacts that have no name."""
        deleted = 0
        for subject in await _part_subjects(self._nc):
            if subject.removeprefix(PARTS) in self._known:
                continue
            stored_at = await _last_time(self._nc, subject)
            if stored_at is not None and now - stored_at >= AGE:
                await _purge(self._nc, subject)
                _log.info("parts deleted of an artifact that was never finished", subject=subject)
                deleted += 1
        return deleted


async def _page(nc: Client, after: int) -> Sequence[Entry]:
    request = {"seq": after + 1, "next_by_subj": NAMES, "batch": PAGE}
    found = []
    async for msg in direct_get(nc, BUCKET, request):
        headers, said = msg.headers or {}, json.loads(msg.data)
        entry = Entry(
            seq=int(headers[SEQUENCE]),
            name=str(said["name"]),
            parts=str(said["nuid"]),
            deleted=bool(said.get("deleted")),
            stored_at=parse_time(headers[TIME]),
        )
        found.append(entry)
    return found


async def _part_subjects(nc: Client) -> Sequence[str]:
    """The server gives a part of them at once, and says how many there are."""
    found: list[str] = []
    while True:
        request = {"subjects_filter": f"{PARTS}>", "offset": len(found)}
        answer = await api(nc, f"STREAM.INFO.{BUCKET}", request)
        if "error" in answer:
            raise Unavailable(f"the bucket of artifacts: {answer['error'].get('description')}")
        page = answer["state"].get("subjects") or {}
        found.extend(page)
        if not page or len(found) >= answer.get("total", 0):
            return found


async def _last_time(nc: Client, subject: str) -> datetime | None:
    answer = await api(nc, f"STREAM.MSG.GET.{BUCKET}", {"last_by_subj": subject})
    if "error" not in answer:
        return parse_time(answer["message"]["time"])
    if answer["error"].get("err_code") == NOT_FOUND:
        return None
    raise Unavailable(f"the bucket of artifacts: {answer['error'].get('description')}")


async def _purge(nc: Client, subject: str) -> None:
    answer = await api(nc, f"STREAM.PURGE.{BUCKET}", {"filter": subject})
    if "error" in answer:
        raise Unavailable(f"the bucket of artifacts: {answer['error'].get('description')}")
