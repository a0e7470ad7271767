"""The provider's own list of models, as an executor tells it to a gateway: only executors have the provider's key."""

from pydantic import BaseModel, ConfigDict


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ListedModel(_Message):
    """`name` as engines write it. Limits in tokens. `methods` are the provider's names; none when it tells none."""

    name: str
    input_limit: int | None = None
    output_limit: int | None = None
    methods: tuple[str, ...] = ()
    thinking: bool = False


class ModelListing(_Message):
    """`providers` were asked, and `models` is all that they have. With an `error`, a sentence, there is no list."""

    providers: tuple[str, ...] = ()
    models: tuple[ListedModel, ...] = ()
    error: str | None = None
