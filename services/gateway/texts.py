"""Large texts for viewers: however many want one at once, it is read once, and all of them hold the same copy."""

import asyncio
from weakref import WeakValueDictionary

from shared.artifacts import Artifacts
from shared.errors import LekhikaError
from shared.events import TextRef
from shared.tasks import spawn


class SharedText(str):
    """A text that can be referred to weakly."""


class Texts:
    """Nothing is kept of a text that nobody holds any more."""

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._held: WeakValueDictionary[str, SharedText] = WeakValueDictionary()
        self._reading: dict[str, asyncio.Task[SharedText | LekhikaError]] = {}

    async def of(self, text: TextRef) -> str:
        """Raises: ArtifactGone; Unavailable."""
        if text.ref is None:
            return text.text or ""
        key = text.ref.artifact
        held = self._held.get(key)
        if held is not None:
            return held
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = spawn(self._read(key, text), name="reading a text for viewers")
        found = await asyncio.shield(task)  # one viewer that leaves does not take it from the others
        if isinstance(found, LekhikaError):
            raise found
        return found

    async def _read(self, key: str, text: TextRef) -> SharedText | LekhikaError:
        try:
            found = self._held[key] = SharedText(await self._artifacts.get_text(text))
        except LekhikaError as error:
            return error
        finally:
            del self._reading[key]
        return found
