"""Values too large for an event: in the object bucket `artifacts`, named by their execution, checked by digest."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.client import Client
from nats.js.errors import (
    APIError,
    BadObjectMetaError,
    BucketNotFoundError,
    NotFoundError,
)
from nats.js.object_store import ObjectStore
from pydantic import ValidationError

from shared import subjects
from shared.errors import LekhikaError, LogFull, Permanent, Retryable, Unavailable, UnknownEvent
from shared.events import ArtifactRef, RequestBody, TextRef
from shared.ids import new_id
from shared.jetstream import FULL, read_whole

INLINE_BYTES = 32 * 1024
"""A text up to this size travels inside its event."""
PATIENCE_SECONDS = 30.0
"""For one artifact."""

PARTIAL_SECONDS = 3.0
"""How long an end waits for the bucket to take a text that was cut off."""

_log = logging.getLogger(__name__)


def room_of_one(count: int, room: int = INLINE_BYTES) -> int:
    """Bytes that each of so many texts may take inline, when all of them share one event with so much room."""
    return room // max(1, count)


class ArtifactGone(Permanent):
    """What was stored is not there any more, or not as it was stored."""


@asynccontextmanager
async def _translated(doing: str) -> AsyncIterator[None]:
    """The one place where errors of the bucket become ours.

    Raises: ArtifactGone; LogFull, when there is no room; Unavailable, when it does not answer.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except (nats.errors.Error, TimeoutError) as error:
        raise _ours(doing, error) from error


def _ours(doing: str, error: Exception) -> LekhikaError:
    match error:
        case BucketNotFoundError() | NotFoundError(err_code=10059):  # the bucket's stream, not the artifact
            return Unavailable(f"{doing}: the bucket {subjects.ARTIFACTS} is not there")
        case NotFoundError() | BadObjectMetaError():
            return ArtifactGone(f"{doing}: it is gone or damaged")
        case APIError(err_code=code) if code in FULL:
            return LogFull(f"{doing}: the bucket is at its size cap")
        case _:
            return Unavailable(f"{doing}: the bucket does not answer: {type(error).__name__}")


class Artifacts:
    """Bound on first use, so that a service can start before the bucket is needed.

    Whatever writes raises LogFull, when there is no room, and Unavailable; whatever reads ArtifactGone and Unavailable.
    """

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._bucket: ObjectStore | None = None

    async def _store(self) -> ObjectStore:
        if self._bucket is None:
            self._bucket = await self._js.object_store(subjects.ARTIFACTS)
        return self._bucket

    async def _put(self, execution_id: str, data: bytes) -> ArtifactRef:
        name = f"{execution_id}/{new_id()}"
        async with _translated(f"storing artifact {name}"):
            await (await self._store()).put(name, data)
        return ArtifactRef(artifact=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    async def _get(self, ref: ArtifactRef) -> bytes:
        async with _translated(f"reading artifact {ref.artifact}"):
            info = await (await self._store()).get_info(ref.artifact)
            subject = f"$O.{subjects.ARTIFACTS}.C.{info.nuid}"
            data = await read_whole(self._nc, f"OBJ_{subjects.ARTIFACTS}", subject, info.size or 0)
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ArtifactGone(f"artifact {ref.artifact} is damaged")
        return data

    async def put_text(self, execution_id: str, text: str, inline: int = INLINE_BYTES) -> TextRef:
        """A reference to `text`; it holds the text itself up to `inline` bytes of UTF-8."""
        data = text.encode()
        if len(data) <= inline:
            return TextRef(text=text, characters=len(text))
        return TextRef(ref=await self._put(execution_id, data), characters=len(text))

    async def put_partial(self, execution_id: str, text: str, inline: int) -> TextRef:
        """As `put_text`, for an end, which can not wait: the beginning that fits inline, when the bucket takes nothing."""
        try:
            async with asyncio.timeout(PARTIAL_SECONDS):
                return await self.put_text(execution_id, text, inline)
        except (Retryable, TimeoutError) as error:
            _log.error("only the beginning of a partial text of %s is kept: %s", execution_id, error)
        beginning = text.encode()[:inline].decode(errors="ignore")
        return TextRef(text=beginning, characters=len(beginning))

    async def get_text(self, text: TextRef) -> str:
        """Raises: ArtifactGone; Unavailable."""
        if text.ref is None:
            return text.text or ""
        return (await self._get(text.ref)).decode()

    async def put_body(self, execution_id: str, body: RequestBody) -> RequestBody | ArtifactRef:
        """The body itself when it fits into an event beside the rest, else a reference."""
        data = body.model_dump_json(by_alias=True, exclude_none=True).encode()
        return body if len(data) <= 2 * INLINE_BYTES else await self._put(execution_id, data)

    async def get_body(self, body: RequestBody | ArtifactRef) -> RequestBody:
        """Raises: ArtifactGone; Unavailable; UnknownEvent, when another release has written it."""
        if isinstance(body, RequestBody):
            return body
        data = await self._get(body)
        try:
            return RequestBody.model_validate_json(data)
        except ValidationError as error:
            raise UnknownEvent(f"artifact {body.artifact} is no request that can be read") from error

    async def delete(self, ref: ArtifactRef) -> None:
        """Does nothing when it is gone already."""
        with suppress(ArtifactGone):
            async with _translated(f"deleting artifact {ref.artifact}"):
                await (await self._store()).delete(ref.artifact)
