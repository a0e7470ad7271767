"""Whether an execution has used more than it may. Pure."""

from collections.abc import Iterable, Mapping

from shared.execution import ExecutionState
from shared.usage import ModelUsage


def exceeded(state: ExecutionState, open_usage: Iterable[ModelUsage], written: int) -> str | None:
    """The limit that is reached, in words, or None.

    `open_usage` is that of calls still open; `written` counts the bytes of all nodes' texts.
    """
    tokens = state.tokens.total + sum(usage.tokens.total for usage in open_usage)
    if tokens > state.limits.tokens:
        return f"limit of {state.limits.tokens:,} tokens reached"
    if written > state.limits.output_bytes:
        return f"limit of {state.limits.output_bytes:,} bytes of text reached"
    return None


def out_of_time(seconds: int, troubles: Mapping[str, str]) -> str:
    """The limit of the execution's time, in words, and what one of its nodes waited for. `troubles` by node."""
    reached = f"limit of {seconds} seconds reached"
    for node, trouble in troubles.items():
        return f"{reached} while {node} waited ({trouble})"
    return reached
