"""What an execution can do next. Values only; `nodes` has the code that does them."""

from dataclasses import dataclass

from shared.workflow import GenerateTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered model call."""

    task: GenerateTask
    text: str
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallModel:
    node: str
    node_attempt: int
    prompt: Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveText:
    """A template node: its text is already known."""

    node: str
    node_attempt: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A node that is made of others begins; these are planned once it is open."""

    node: str
    node_attempt: int
    kind: str
    items: int | None = None
    """How many they are, where that is known from the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """All that it is made of is completed."""

    node: str
    node_attempt: int
    kind: str
    text_of: str | None = None
    """The part whose text is its own; without one it has none."""


Step = CallModel | GiveText | Open | Close
