"""Deletes what no event names in the bucket of artifacts: a crash came between the put and the append, or a stop did.

A whole artifact is one message that names it, and parts; a put that was never finished left parts only. A deleted one
leaves a message that says so. All of it is left alone for an hour: by then whoever put it has appended its event,
or never will.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from nats.aio.client import Client

from services.janitor import stream
from services.janitor.parts import Parts
from services.janitor.policy import orphans
from shared import subjects, telemetry
from shared.errors import Retryable, Unavailable, UnknownEvent
from shared.events import ArtifactRef
from shared.jetstream import NOT_FOUND, api, direct_get
from shared.logs import get_logger
from shared.messages import SEQUENCE, TIME, parse_time

AGE = timedelta(hours=1)
EVERY_SECONDS = 1_800.0
"""From the end of one sweep to the start of the next."""
AGAIN_SECONDS = 5.0
"""After a sweep that was not finished, and until this process leads."""
PAGE = 256
"""Artifacts asked for at once."""
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

    @property
    def execution_id(self) -> str:
        return self.name.partition("/")[0]


class Kind(StrEnum):
    ARTIFACT = "artifact"
    MARK = "mark"
    PARTS = "parts"


REASONS: Mapping[Kind, str] = {
    Kind.ARTIFACT: "no event names this artifact",
    Kind.MARK: "it is the mark of an artifact that was deleted",
    Kind.PARTS: "they are parts of an artifact that was never finished",
}


@dataclass(frozen=True, slots=True)
class Leftover:
    """What may go. `name`: of an artifact, or the subject of parts; `seq`: of a mark."""

    kind: Kind
    name: str
    seq: int = 0

    @property
    def reason(self) -> str:
        return REASONS[self.kind]


class Sweeper:
    """A loop of its own, as the executions that nobody runs can not wait for a look at the whole bucket.

    `may_act` is asked before every act: whether this process still leads.
    """

    def __init__(self, parts: Parts, *, may_act: Callable[[], bool]) -> None:
        self._nc = parts.nc
        self._log = parts.log
        self._artifacts = parts.artifacts
        self._may_act = may_act
        self.failure: str | None = None
        """Why the last sweep could not be finished; None when it was, or when another janitor leads."""

    async def run(self) -> None:
        """Until cancelled. Raises: Permanent."""
        while True:
            finished = await self._try()
            await asyncio.sleep(EVERY_SECONDS if finished else AGAIN_SECONDS)

    async def _try(self) -> bool:
        try:
            swept = self._may_act() and await self.sweep(await _server_time(self._nc))
        except Retryable as error:
            if self.failure is None:
                _log.warning("the sweep was not finished", reason=str(error))
            self.failure = str(error)
            return False
        self.failure = None
        return swept

    async def sweep(self, now: datetime) -> bool:
        """Deletes all that may go; false when this process leads no more. Raises: Retryable."""
        with telemetry.span("janitor sweep"):
            deleted = Counter[Kind]()
            async for found in self.judge(now):
                if not self._may_act():
                    return False
                await self._delete(found)
                deleted[found.kind] += 1
        if deleted:
            _log.info("sweep", **{kind.value: count for kind, count in deleted.items()})
        return True

    async def judge(self, now: datetime) -> AsyncIterator[Leftover]:
        """All that may go at that time of the server. Raises: Unavailable."""
        known: set[str] = set()
        after = 0
        while page := await _page(self._nc, after):
            known.update(entry.parts for entry in page if not entry.deleted)
            async for found in self._among([entry for entry in page if now - entry.stored_at >= AGE]):
                yield found
            after = page[-1].seq
        async for found in self._strays(now, known):
            yield found

    async def _among(self, page: Iterable[Entry]) -> AsyncIterator[Leftover]:
        """Reads the history of each execution once, however many artifacts it has here."""
        artifacts: dict[str, list[str]] = {}
        for entry in page:
            if entry.deleted:
                yield Leftover(Kind.MARK, entry.name, entry.seq)
            else:
                artifacts.setdefault(entry.execution_id, []).append(entry.name)
        for execution_id, names in artifacts.items():
            try:
                history = await self._log.load(execution_id)
            except UnknownEvent:
                continue
            for name in orphans(names, history):
                yield Leftover(Kind.ARTIFACT, name)

    async def _strays(self, now: datetime, known: Container[str]) -> AsyncIterator[Leftover]:
        """Parts of artifacts that have no name."""
        for subject in await _part_subjects(self._nc):
            if subject.removeprefix(PARTS) not in known:
                stored_at = await _last_time(self._nc, subject)
                if stored_at is not None and now - stored_at >= AGE:
                    yield Leftover(Kind.PARTS, subject)

    async def _delete(self, found: Leftover) -> None:
        match found.kind:
            case Kind.MARK:
                await stream.delete(self._nc, found.seq, BUCKET)
                return
            case Kind.ARTIFACT:
                await self._artifacts.delete(ArtifactRef(artifact=found.name, size=0, sha256=""))
            case Kind.PARTS:
                await _purge(self._nc, found.name)
            case _:
                assert_never(found.kind)
        _log.info("swept", name=found.name, reason=found.reason)


async def _server_time(nc: Client) -> datetime:
    answer = await api(nc, f"STREAM.INFO.{BUCKET}", {})
    if "error" in answer:
        raise Unavailable(f"the bucket of artifacts: {answer['error'].get('description')}")
    return parse_time(answer["ts"])


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
