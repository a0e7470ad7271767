"""The definition of an engine: typed inputs, nodes, output. Pure; what is wrong is said with node and field."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

ID_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
ENGINE_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Limits(_Strict):
    """What one execution may use. Reaching one stops it with that reason."""

    seconds: PositiveInt = 3600
    """From the request's first start to its end, waiting for an executor not included."""
    tokens: PositiveInt = 2_000_000
    output_bytes: PositiveInt = 16_000_000
    nodes: PositiveInt = 2_000
    """Items of a for_each count one each."""


class Input(_Strict):
    """One typed input. A value that is not given takes `default`; without one, it must be given if required."""

    type: Literal["text", "long_text", "number", "choice", "list"] = "text"
    required: bool = False
    default: str | float | int | list[str] | None = None
    title: str | None = None
    description: str | None = None
    choices: tuple[str, ...] | None = None
    max_length: PositiveInt | None = None
    """Characters of a text, items of a list."""
    minimum: float | None = None
    maximum: float | None = None


class GenerateTask(_Strict):
    """One call of a model. `output_schema` (JSON Schema) asks for structured output."""

    kind: Literal["generate"]
    model: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1)
    system: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    thinking: Literal["minimal", "low", "medium", "high"] | None = None
    max_tokens: PositiveInt | None = None
    output_schema: dict[str, Any] | None = None
    continue_truncated: bool = False
    """Whether an answer that ends at the limit of tokens is to be gone on with, instead of being kept as it is."""


class TemplateTask(_Strict):
    """Text put together from inputs and finished nodes, without a model."""

    kind: Literal["template"]
    template: str


Task = Annotated[GenerateTask | TemplateTask, Field(discriminator="kind")]


class _Node(_Strict):
    id: str = Field(pattern=ID_PATTERN)
    name: str | None = None
    after: tuple[str, ...] = ()
    """Nodes to wait for beside those that a template names."""


class GenerateNode(_Node, GenerateTask):
    pass


class TemplateNode(_Node, TemplateTask):
    pass


class ForEachNode(_Node):
    """Runs `node` once for every item of a list. Each item is a node of its own, `<id>/0`, `<id>/1`, ..."""

    kind: Literal["for_each"]
    items: str
    """An expression in `{{ }}` that gives a list."""
    as_: str = Field(alias="as", default="item", pattern=ID_PATTERN)
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    node: Task


Node = Annotated[GenerateNode | TemplateNode | ForEachNode, Field(discriminator="kind")]


class Workflow(_Strict):
    """What runs: the part of an engine that travels with each execution."""

    inputs: dict[Annotated[str, Field(pattern=ID_PATTERN)], Input] = {}
    nodes: tuple[Node, ...] = Field(min_length=1, max_length=200)
    output: str
    fallback_model: str | None = Field(default=None, min_length=1, max_length=200)
    """The model to take while the one that a node names is down."""

    def node(self, node_id: str) -> GenerateNode | TemplateNode | ForEachNode:
        """Raises: KeyError, when there is none of that id."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)


class Engine(Workflow):
    """A definition as people write it: the workflow with its names."""

    id: str = Field(pattern=ENGINE_ID_PATTERN)
    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2_000)
    limits: Limits | None = None

    def workflow(self) -> Workflow:
        return Workflow(
            inputs=self.inputs, nodes=self.nodes, output=self.output, fallback_model=self.fallback_model
        )


def models_used(workflow: Workflow) -> set[str]:
    """Names of all models that the workflow may call."""
    named = {task.model for task in _tasks(workflow) if isinstance(task, GenerateTask)}
    return named | {workflow.fallback_model} if named and workflow.fallback_model else named


def _tasks(workflow: Workflow) -> Iterator[GenerateTask | TemplateTask]:
    for node in workflow.nodes:
        yield node.node if isinstance(node, ForEachNode) else node


def item_id(node_id: str, index: NonNegativeInt) -> str:
    """The node id of one item of a for_each."""
    return f"{node_id}/{index}"


def parent_of(node_id: str) -> str:
    """The id in the workflow: itself, or the for_each that an item belongs to."""
    return node_id.partition("/")[0]
