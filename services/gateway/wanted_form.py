"""Which form of an output a request means. Pure."""

from services.gateway.downloads.form import Form
from services.gateway.problems import FieldError, Problem, invalid


def wanted(accept: str | None, name: str | None) -> Form:
    """`name` is the value of `?format=`, and outranks the Accept header, which a link can not set.

    Raises: Problem 422 for a name that is none; 406, when nothing that is offered is accepted.
    """
    return accepted(accept) if name is None else named(name)


def named(name: str) -> Form:
    """Raises: Problem 422, naming what there is."""
    try:
        return Form(name.lower())
    except ValueError:
        fault = FieldError("format", f"must be one of {', '.join(Form)}")
        raise invalid("There is no such form of the output.", [fault]) from None


def accepted(accept: str | None) -> Form:
    """The best by an Accept header; of equally good ones the first in the order of `Form`.

    Raises: Problem 406, when none is accepted.
    """
    for wish, quality in sorted(_wishes(accept or "*/*"), key=lambda wish: -wish[1]):
        if quality <= 0:
            continue
        for form in Form:
            if wish in ("*/*", form.media_type, form.media_type.partition("/")[0] + "/*"):
                return form
    *others, last = (form.media_type for form in Form)
    raise not_acceptable(f"The output is there as {', '.join(others)} and {last}.")


def not_acceptable(detail: str) -> Problem:
    return Problem(406, "not_acceptable", "No such form", detail)


def _wishes(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            found.append((name, float(quality)))
        except ValueError:
            found.append((name, 0.0))
    return found
