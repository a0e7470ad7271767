"""The providers of this process, found by the model's name."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from services.executor.models.names import BRANDS
from services.executor.models.provider import Caller, ModelError, ModelRequest, Provider
from shared.model_listing import ModelListing

LIST_SECONDS = 15.0
"""How long each may take to list its models: less than the gateway waits for all, which are asked at once."""

_log = logging.getLogger(__name__)


class Models:
    """Itself a provider: hands each call to the one that the model's name belongs to (see `names`)."""

    def __init__(self, gemini: Provider, others: Mapping[str, Provider]) -> None:
        """`others` by prefix; one of `BRANDS` that is not there is not configured."""
        self._gemini = gemini
        self._others = others

    async def stream(self, request: ModelRequest, caller: Caller) -> None:
        prefix, slash, name = request.model.partition("/")
        if not slash or prefix not in BRANDS:
            await self._gemini.stream(request, caller)
        elif prefix in self._others:
            await self._others[prefix].stream(replace(request, model=name), caller)
        else:
            raise ModelError(
                "model_not_found",
                f"Nobody answers for {request.model}: no {prefix} endpoint is configured. Choose another model, "
                "or ask an administrator to set the endpoint's address.",
            )

    async def list_models(self) -> ModelListing:
        """What all of them have, by names as engines write them. One that gives none in time is left out.

        Raises: ModelError, when none of them gives a list.
        """
        every = {
            "Gemini": self._gemini,
            **{f"The {prefix} endpoint": p for prefix, p in self._others.items()},
        }
        found = await asyncio.gather(*(_list_of(who, provider) for who, provider in every.items()))
        lists = [each for each in found if isinstance(each, ModelListing)]
        failed = [each for each in found if isinstance(each, ModelError)]
        for error in failed:
            _log.warning("no list of models: %s: %s", error.code, error.message)
        if not lists:
            raise failed[0]
        return ModelListing(
            providers=tuple(name for each in lists for name in each.providers),
            models=tuple(model for each in lists for model in each.models),
        )

    async def aclose(self) -> None:
        await self._gemini.aclose()
        for provider in self._others.values():
            await provider.aclose()


async def _list_of(who: str, provider: Provider) -> ModelListing | ModelError:
    try:
        async with asyncio.timeout(LIST_SECONDS):
            return await provider.list_models()
    except ModelError as error:
        return error
    except TimeoutError:
        text = f"{who} gave no list of its models within {LIST_SECONDS:.0f} s."
        return ModelError("provider_unreachable", text)
