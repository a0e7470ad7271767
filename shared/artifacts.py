"""Values too large for an event: in the object bucket `artifacts`, named by their execution, checked by digest."""

import hashlib

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError, ObjectNotFoundError
from nats.js.object_store import ObjectStore

from shared import subjects
from shared.errors import Permanent
from shared.events import ArtifactRef, RequestBody, TextRef
from shared.ids import new_id

INLINE_BYTES = 32 * 1024
"""A text up to this size travels inside its event."""


class Artifacts:
    """Bound on first use, so that a service can start before the bucket is needed."""

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js
        self._bucket: ObjectStore | None = None

    async def _store(self) -> ObjectStore:
        if self._bucket is None:
            self._bucket = await self._js.object_store(subjects.ARTIFACTS)
        return self._bucket

    async def _put(self, execution_id: str, data: bytes) -> ArtifactRef:
        name = f"{execution_id}/{new_id()}"
        await (await self._store()).put(name, data)
        return ArtifactRef(artifact=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    async def _get(self, ref: ArtifactRef) -> bytes:
        """Raises: Permanent, when it is gone or not what was stored."""
        try:
            data = (await (await self._store()).get(ref.artifact)).data or b""
        except (NotFoundError, ObjectNotFoundError) as error:
            raise Permanent(f"artifact {ref.artifact} is gone") from error
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise Permanent(f"artifact {ref.artifact} is damaged")
        return data

    async def put_text(self, execution_id: str, text: str, inline: int = INLINE_BYTES) -> TextRef:
        """A reference to `text`; it holds the text itself up to `inline` bytes of UTF-8."""
        data = text.encode()
        if len(data) <= inline:
            return TextRef(text=text, characters=len(text))
        return TextRef(ref=await self._put(execution_id, data), characters=len(text))

    async def get_text(self, text: TextRef) -> str:
        """Raises: Permanent, as for any artifact."""
        if text.ref is None:
            return text.text or ""
        return (await self._get(text.ref)).decode()

    async def put_body(self, execution_id: str, body: RequestBody) -> RequestBody | ArtifactRef:
        """The body itself when it fits into an event beside the rest, else a reference."""
        data = body.model_dump_json(by_alias=True, exclude_none=True).encode()
        return body if len(data) <= 2 * INLINE_BYTES else await self._put(execution_id, data)

    async def get_body(self, body: RequestBody | ArtifactRef) -> RequestBody:
        """Raises: Permanent, as for any artifact."""
        if isinstance(body, RequestBody):
            return body
        return RequestBody.model_validate_json(await self._get(body))

    async def delete(self, ref: ArtifactRef) -> None:
        """Does nothing when it is gone already."""
        try:
            await (await self._store()).delete(ref.artifact)
        except (NotFoundError, ObjectNotFoundError):
            return
