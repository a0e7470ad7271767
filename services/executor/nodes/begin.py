"""Which coroutine runs a step of the plan."""

from collections.abc import Coroutine
from typing import Any

from services.executor import planner
from services.executor.nodes.context import Run
from services.executor.nodes.for_each import close_items, open_items
from services.executor.nodes.generate import run_generate
from services.executor.nodes.template import run_template


def begin(run: Run, step: planner.Step) -> Coroutine[Any, Any, None]:
    """To be awaited in a task of its own. Raises: what the node ends with."""
    match step:
        case planner.CallModel():
            return run_generate(run, step)
        case planner.GiveText():
            return run_template(run, step)
        case planner.OpenItems():
            return open_items(run, step)
        case planner.CloseItems():
            return close_items(run, step)
