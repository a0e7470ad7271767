"""Which coroutine runs a step of the plan."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from services.executor.nodes.context import Run
from services.executor.nodes.generate import run_generate
from services.executor.nodes.group import close_group, open_group
from services.executor.nodes.template import run_template
from services.executor.steps import CallModel, Close, GiveText, Open, Step

Runner = Callable[[Run, Any], Coroutine[Any, Any, None]]
RUNNERS: Mapping[type[Step], Runner] = {
    CallModel: run_generate,
    GiveText: run_template,
    Open: open_group,
    Close: close_group,
}


def begin(run: Run, step: Step) -> Coroutine[Any, Any, None]:
    """To be awaited in a task of its own. Raises: what the node ends with."""
    return RUNNERS[type(step)](run, step)
