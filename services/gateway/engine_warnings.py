"""What will be otherwise than a definition says although it can be used. Pure."""

from collections.abc import Iterator
from itertools import islice

from shared.findings import MAX_PROBLEMS, Problem
from shared.workflow import Engine, Limits


def warnings_of(engine: Engine, largest: Limits) -> list[Problem]:
    """At most as many as there are problems of an engine that can not be used."""
    return list(islice(_limits(engine, largest), MAX_PROBLEMS))


def _limits(engine: Engine, largest: Limits) -> Iterator[Problem]:
    given = engine.limits.model_dump(exclude_unset=True) if engine.limits else {}
    for name, value in given.items():
        most = getattr(largest, name)
        if value > most:
            yield Problem(
                None, f"limits.{name}", f"is {value:,}, and {most:,} is the most here: that is what holds"
            )
