"""What a finished node has written is not given up because its bucket is away."""

from types import SimpleNamespace

import pytest

from services.executor import patience
from services.executor.nodes import keep
from shared.errors import LogFull, Unavailable
from shared.events import TextRef


class Bucket:
    """Is away, then full, then there."""

    def __init__(self) -> None:
        self.answers = [Unavailable("away"), LogFull("full")]

    async def put_text(self, execution_id: str, text: str) -> TextRef:
        if self.answers:
            raise self.answers.pop(0)
        return TextRef(text=f"{execution_id} {text}")


async def test_a_finished_text_is_kept_as_soon_as_its_bucket_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN_SECONDS", 0.001)
    journal = SimpleNamespace(state=SimpleNamespace(id="one"))
    run = SimpleNamespace(artifacts=Bucket(), journal=journal)
    assert await keep.keep_text(run, "text") == TextRef(text="one text")
