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
    detail = (
        f"Engine {engine_id} is shared with you and not yours: you may run it, and copy what GET "
        "/v1/engines/{id} gives; versions, sharing and deletion are its author's."
    )
    return Problem(403, "not_your_engine", "Not your engine", detail)


def not_shared(engine_id: str) -> Problem:
    return Problem(404, "engine_not_found", "No such engine", f"Nobody shares an engine {engine_id[:100]!r}.")


def too_many(most: int) -> Problem:
    return Problem(409, "too_many_engines", "Too many engines", f"You have {most} engines; delete one first.")


def changed_meanwhile(engine_id: str, version: int | None) -> Problem:
    """412: `If-Match` does not fit."""
    now = f"is at version {version} now" if version is not None else "is not published by you"
    detail = (
        f"Engine {engine_id} {now}, and If-Match names something else: another version, or one of an engine that was "
        "deleted since. Read it again and decide."
    )
    return Problem(412, "version_changed", "Somebody changed it meanwhile", detail)


def no_draft(engine_id: str) -> Problem:
    detail = f"You have no draft of {engine_id[:100]!r}; PUT /v1/engines/{{id}}/draft makes one."
    return Problem(404, "draft_not_found", "No such draft", detail)


def draft_changed(engine_id: str) -> Problem:
    detail = f"The draft of {engine_id} was changed while it was checked; publish it again."
    return Problem(409, "draft_changed", "The draft was changed meanwhile", detail)


def no_version(engine_id: str, number: int, newest: int) -> Problem:
    detail = f"Engine {engine_id} has no version {number}; its newest is {newest}."
    return Problem(
        404, "version_not_found", "No such version", detail, [FieldError("version", f"must be 1 to {newest}")]
    )


def id_is_taken(engine_id: str) -> Problem:
    detail = (
        f"Somebody else shares an engine with the id {engine_id}; put yours under another id and share that."
    )
    return Problem(409, "shared_id_taken", "The id is taken among the shared engines", detail)
