"""What will be otherwise than a definition says although it can be used. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

from shared.findings import MAX_PROBLEMS, Problem
from shared.workflow import Engine, GenerateTask, Limits

SOON = timedelta(days=30)
"""A retirement that is nearer is warned of."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """`successor`: the model to take instead, if one is known that is not retired then."""

    at: datetime
    successor: str | None


def warnings_of(engine: Engine, retiring: Mapping[str, Retirement], largest: Limits) -> list[Problem]:
    """At most as many as there are problems of an engine that can not be used. `retiring`: soon, by model."""
    return list(islice(chain(_retirements(engine, retiring), _limits(engine, largest)), MAX_PROBLEMS))


def _retirements(engine: Engine, retiring: Mapping[str, Retirement]) -> Iterator[Problem]:
    for node in engine.nodes:
        for prefix, task, _ in node.parts():
            if isinstance(task, GenerateTask) and task.model in retiring:
                yield Problem(node.id, f"nodes.{node.id}.{prefix}model", _told(task.model, retiring))
    if engine.fallback_model is not None and engine.fallback_model in retiring:
        yield Problem(None, "fallback_model", _told(engine.fallback_model, retiring))


def _told(model: str, retiring: Mapping[str, Retirement]) -> str:
    found = retiring[model]
    successor = f"its successor is {found.successor}" if found.successor else "no successor is named"
    return f"{model} retires on {found.at:%Y-%m-%d}; {successor}"


def _limits(engine: Engine, largest: Limits) -> Iterator[Problem]:
    given = engine.limits.model_dump(exclude_unset=True) if engine.limits else {}
    for name, value in given.items():
        most = getattr(largest, name)
        if value > most:
            yield Problem(
                None, f"limits.{name}", f"is {value:,}, and {most:,} is the most here: that is what holds"
            )
