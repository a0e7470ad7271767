"""The definition of an engine: typed inputs, nodes, output. Pure; what is wrong is said with node and field.

A new kind of node begins here, with a class in the union `Node`; ARCHITECTURE.md lists the rest.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

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


def _by_kind(union: Any) -> dict[str, Any]:
    return {get_args(each.model_fields["kind"].annotation)[0]: each for each in get_args(union)}


class Source(NamedTuple):
    """A template inside a node."""

    field: str
    """Where it stands in its node, such as `prompt` or `cases.0.when`."""
    text: str
    local: frozenset[str] = frozenset()
    """Names that it may use beside inputs and nodes."""
    expression: bool = False
    """Whether it must be one expression in `{{ }}`, whose value counts."""


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

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "prompt", self.prompt
        if self.system is not None:
            yield "system", self.system


class TemplateTask(_Strict):
    """Text put together from inputs and finished nodes, without a model."""

    kind: Literal["template"]
    template: str

    def templates(self) -> Iterator[tuple[str, str]]:
        yield "template", self.template


Task = Annotated[GenerateTask | TemplateTask, Field(discriminator="kind")]


class Part(NamedTuple):
    """What a node runs: itself, or one of the tasks inside it."""

    field: str
    """Where it stands in its node, with a dot behind, such as `cases.0.node.`; empty for the node itself."""
    task: GenerateTask | TemplateTask
    local: frozenset[str] = frozenset()


class _Node(_Strict):
    id: str = Field(pattern=ID_PATTERN)
    name: str | None = None
    after: tuple[str, ...] = ()
    """Nodes to wait for beside those that a template names."""

    def parts(self) -> Iterator[Part]:
        raise NotImplementedError

    def expressions(self) -> Iterator[Source]:
        """Those of the node itself; the templates of its tasks come from `sources`."""
        yield from ()

    def sources(self) -> Iterator[Source]:
        """Every template in it."""
        yield from self.expressions()
        for field, task, local in self.parts():
            for name, text in task.templates():
                yield Source(f"{field}{name}", text, local)


class GenerateNode(_Node, GenerateTask):
    def parts(self) -> Iterator[Part]:
        yield Part("", self)


class TemplateNode(_Node, TemplateTask):
    def parts(self) -> Iterator[Part]:
        yield Part("", self)


class _Group(_Node):
    """A node made of nodes that run under ids of their own, `<id>/0`, `<id>/1`, ..."""

    def task(self, index: int) -> GenerateTask | TemplateTask:
        """What the node of that number runs."""
        raise NotImplementedError

    @property
    def most(self) -> int | None:
        """How many nodes it can have, as far as the definition says."""
        return None


class ForEachNode(_Group):
    """Runs `node` once for every item of a list. Its value is the list of their values."""

    kind: Literal["for_each"]
    items: str
    """An expression in `{{ }}` that gives a list."""
    as_: str = Field(alias="as", default="item", pattern=ID_PATTERN)
    concurrency: Annotated[int, Field(ge=1, le=32)] = 4
    node: Task

    def task(self, index: int) -> GenerateTask | TemplateTask:
        return self.node

    def parts(self) -> Iterator[Part]:
        yield Part("node.", self.node, frozenset({self.as_, "index"}))

    def expressions(self) -> Iterator[Source]:
        yield Source("items", self.items, expression=True)


class Case(_Strict):
    """One way that a branch can take."""

    when: str
    """An expression in `{{ }}`; the way is taken when its value is true, as `if` in a template judges it."""
    node: Task


class BranchNode(_Group):
    """Runs the task of the first case whose condition is true, as `<id>/<number of the case>`.

    `else` runs when none is, with the number of cases as its number. The value is that of what ran; `""` if nothing did.
    """

    kind: Literal["branch"]
    cases: tuple[Case, ...] = Field(min_length=1, max_length=20)
    else_: Task | None = Field(alias="else", default=None)

    def task(self, index: int) -> GenerateTask | TemplateTask:
        """Raises: IndexError, for the number of cases when there is no `else`."""
        if index == len(self.cases) and self.else_ is not None:
            return self.else_
        return self.cases[index].node

    @property
    def most(self) -> int:
        return len(self.cases) + (self.else_ is not None)

    def parts(self) -> Iterator[Part]:
        for index, case in enumerate(self.cases):
            yield Part(f"cases.{index}.node.", case.node)
        if self.else_ is not None:
            yield Part("else.", self.else_)

    def expressions(self) -> Iterator[Source]:
        for index, case in enumerate(self.cases):
            yield Source(f"cases.{index}.when", case.when, expression=True)


class RepeatNode(_Group):
    """Runs `node` in rounds, `<id>/0`, `<id>/1`, ..., until a condition is true. Its value is that of the last round.

    In it, `previous` is the value of the round before, `""` in the first, and `index` counts from 0. In `until`,
    `previous` is the value of the round that has just finished, and `index` its number.
    """

    LOCAL: ClassVar[frozenset[str]] = frozenset({"previous", "index"})

    kind: Literal["repeat"]
    node: Task
    until: str
    """An expression in `{{ }}`, worked out after each round."""
    times: Annotated[int, Field(ge=1, le=50)]
    """The most rounds."""

    def task(self, index: int) -> GenerateTask | TemplateTask:
        return self.node

    @property
    def most(self) -> int:
        return self.times

    def parts(self) -> Iterator[Part]:
        yield Part("node.", self.node, self.LOCAL)

    def expressions(self) -> Iterator[Source]:
        yield Source("until", self.until, self.LOCAL, expression=True)


AnyNode = GenerateNode | TemplateNode | ForEachNode | BranchNode | RepeatNode
Node = Annotated[AnyNode, Field(discriminator="kind")]
GroupNode = ForEachNode | BranchNode | RepeatNode
TASK_KINDS: Mapping[str, type[GenerateTask | TemplateTask]] = _by_kind(GenerateTask | TemplateTask)
NODE_KINDS: Mapping[str, type[AnyNode]] = _by_kind(AnyNode)
GROUP_KINDS: frozenset[str] = frozenset(_by_kind(GroupNode))


class Workflow(_Strict):
    """What runs: the part of an engine that travels with each execution."""

    inputs: dict[Annotated[str, Field(pattern=ID_PATTERN)], Input] = {}
    nodes: tuple[Node, ...] = Field(min_length=1, max_length=200)
    output: str
    fallback_model: str | None = Field(default=None, min_length=1, max_length=200)
    """The model to take while the one that a node names is down."""

    def node(self, node_id: str) -> AnyNode:
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
    tasks = [part.task for node in workflow.nodes for part in node.parts()]
    named = {task.model for task in tasks if isinstance(task, GenerateTask)}
    return named | {workflow.fallback_model} if named and workflow.fallback_model else named


def item_id(node_id: str, index: NonNegativeInt) -> str:
    """The node id of one item of a for_each, one round of a repeat, or one case of a branch."""
    return f"{node_id}/{index}"


def parent_of(node_id: str) -> str:
    """The id in the workflow: itself, or the node that it is a part of."""
    return node_id.partition("/")[0]


def task_of(node: AnyNode, node_id: str) -> GenerateTask | TemplateTask | None:
    """What runs under this id, which is the node's own or that of a part; None for a group itself."""
    if not isinstance(node, GroupNode):
        return node
    index = node_id.partition("/")[2]
    return node.task(int(index)) if index else None
