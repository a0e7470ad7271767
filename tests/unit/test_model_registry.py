"""One process, several providers: what one of them does not do is no trouble of the others."""

import asyncio

import pytest

from services.executor.models import registry
from services.executor.models.provider import Caller, ModelError, ModelRequest
from services.executor.models.registry import Models
from shared.model_listing import ListedModel, ModelListing


class Lists:
    """Gives this list, or never one."""

    def __init__(self, name: str | None) -> None:
        self.name = name

    async def stream(self, request: ModelRequest, caller: Caller) -> None: ...

    async def list_models(self) -> ModelListing:
        if self.name is None:
            await asyncio.Event().wait()
        return ModelListing(providers=(str(self.name),), models=(ListedModel(name=str(self.name)),))

    async def aclose(self) -> None: ...


async def test_a_provider_that_hangs_leaves_the_others_their_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LIST_SECONDS", 0.05)
    found = await Models(Lists(None), {"openai": Lists("openai")}).list_models()
    assert found.providers == ("openai",)
    found = await Models(Lists("gemini"), {"openai": Lists(None), "other": Lists(None)}).list_models()
    assert [model.name for model in found.models] == ["gemini"]


async def test_where_nobody_gives_a_list_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LIST_SECONDS", 0.05)
    with pytest.raises(ModelError, match="Gemini gave no list"):
        await Models(Lists(None), {}).list_models()
