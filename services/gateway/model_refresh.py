"""The catalogue beside the provider's own list: what is new, changed or gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from pydantic import ValidationError

from services.gateway.model_bodies import Capabilities, Refreshed, is_model_name
from services.gateway.model_problems import no_list
from services.gateway.model_store import ModelRow
from shared.model_listing import ListedModel, ModelListing
from shared.subjects import PROVIDER_MODELS
from shared.usage import Tier

SECONDS = 20.0
"""How long an executor may take to ask its provider."""
GENERATES = "generateContent"
_MOST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Found:
    """`rows` are to be stored."""

    rows: Sequence[ModelRow]
    answer: Refreshed


async def ask(nc: Client) -> ModelListing:
    """Asks one of the executors. Raises: Problem 503, when none of them, or no provider, gives a list."""
    try:
        answer = await nc.request(PROVIDER_MODELS, b"", timeout=SECONDS)
        listing = ModelListing.model_validate_json(answer.data)
    except NoRespondersError:
        raise no_list("No executor is running; only executors can ask the provider.") from None
    except NatsTimeout:
        raise no_list(f"No executor answered within {SECONDS:.0f} s.") from None
    except ValidationError:
        raise no_list("An executor of another release answered something that can not be read.") from None
    if listing.error is not None:
        raise no_list(listing.error)
    if not listing.models:
        raise no_list("The provider's list is empty.")
    return listing


def compare(known: Mapping[str, ModelRow], listing: ModelListing, now: datetime) -> Found:
    """Pure. New names are paid for until somebody decides otherwise; what a superadmin set stays as it is.

    A provider that does not say what a model is for may list speech and pictures too: no engine may name it yet.
    """
    listed = {model.name: model for model in listing.models if is_model_name(model.name)}
    rows: list[ModelRow] = []
    answer = Refreshed(
        providers=sorted(listing.providers), added=[], undecided=[], changed=[], unlisted=[], listed_again=[]
    )
    for name, model in sorted(listed.items()):
        there = known.get(name)
        if there is None:
            if model.methods and GENERATES not in model.methods:
                continue  # it makes no text
            rows.append(_new(model))
            answer.added.append(name)
            if not model.methods:
                answer.undecided.append(name)
            continue
        row = replace(
            there,
            input_limit=_limit(model.input_limit) or there.input_limit,
            output_limit=_limit(model.output_limit) or there.output_limit,
            unlisted_at=None,
        )
        if row != there:
            rows.append(row)
            (answer.changed if there.unlisted_at is None else answer.listed_again).append(name)
    for name, there in sorted(known.items()):
        gone = there.provider in listing.providers and name not in listed
        if gone and there.unlisted_at is None and not there.retired(now):
            rows.append(replace(there, unlisted_at=now))
            answer.unlisted.append(name)
    return Found(rows, answer)


def _new(model: ListedModel) -> ModelRow:
    return ModelRow(
        name=model.name,
        tier=Tier.PAYG,
        capabilities=Capabilities(text=GENERATES in model.methods, thinking=model.thinking).model_dump(),
        input_limit=_limit(model.input_limit),
        output_limit=_limit(model.output_limit),
    )


def _limit(tokens: int | None) -> int | None:
    """None for what can not be a number of tokens."""
    return tokens if tokens is not None and 0 < tokens <= _MOST else None
