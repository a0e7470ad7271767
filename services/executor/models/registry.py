"""The providers of this process, found by the model's name."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from services.executor.models.names import BRANDS
from services.executor.models.provider import Caller, ModelError, ModelRequest, Provider
from shared.model_listing import ListedModel, ModelListing

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
        """What all of them have, by names as engines write them. One that gives none is left out.

        Raises: ModelError, when none of them gives a list.
        """
        providers, models, failed = list[str](), list[ListedModel](), list[ModelError]()
        for provider in (self._gemini, *self._others.values()):
            try:
                found = await provider.list_models()
            except ModelError as error:
                _log.warning("no list of models: %s: %s", error.code, error.message)
                failed.append(error)
            else:
                providers += found.providers
                models += found.models
        if not providers:
            raise failed[0]
        return ModelListing(providers=tuple(providers), models=tuple(models))

    async def aclose(self) -> None:
        await self._gemini.aclose()
        for provider in self._others.values():
            await provider.aclose()
