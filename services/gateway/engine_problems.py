"""What the routes of engines refuse."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.problems import FieldError, Problem
from shared.validation import InvalidDefinition


@dataclass(frozen=True, slots=True)
class NodeError(FieldError):
    """A fault in a definition, with the id of the node that it is in."""

    node: str | None


def errors_of(invalid: InvalidDefinition) -> list[NodeError]:
    return [NodeError(problem.field, problem.detail, problem.node) for problem in invalid.problems]


def refused(errors: Sequence[NodeError]) -> Problem:
    count = "one problem" if len(errors) == 1 else f"{len(errors)} problems"
    detail = f"The definition has {count}; {errors[0].field}: {errors[0].detail}"
    return Problem(422, "invalid_definition", "The engine can not be used", detail, errors)


def not_found(engine_id: str) -> Problem:
    detail = (
        f"There is no engine {engine_id[:100]!r} of yours or shared with you; GET /v1/engines lists them."
    )
    return Problem(404, "engine_not_found", "No such engine", detail)


def shared_by_another(engine_id: str) -> Problem:
    detail = f"Engine {engine_id} is shared with you and not yours to delete."
    return Problem(403, "not_your_engine", "Not your engine", detail)


def too_many(most: int) -> Problem:
    return Problem(409, "too_many_engines", "Too many engines", f"You have {most} engines; delete one first.")
