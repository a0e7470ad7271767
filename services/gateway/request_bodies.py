"""The large part of requests, read from the artifacts once: it never changes."""

from collections import OrderedDict

from shared.artifacts import Artifacts
from shared.events import ArtifactRef, RequestBody

REMEMBERED = 64


class Bodies:
    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._known: OrderedDict[str, RequestBody] = OrderedDict()

    async def of(self, body: RequestBody | ArtifactRef) -> RequestBody:
        """Raises: ArtifactGone; UnknownEvent; Unavailable."""
        if isinstance(body, RequestBody):
            return body
        known = self._known.get(body.sha256)
        if known is None:
            known = await self._artifacts.get_body(body)
            self._known[body.sha256] = known
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return known
