"""Which form of an output a request means. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.gateway.downloads.form import Form
from services.gateway.problems import FieldError, Problem, invalid


@dataclass(frozen=True, slots=True)
class Wish:
    """`name` is the value of `?format=`, and outranks the Accept header, which a link can not set."""

    accept: str | None
    name: Form | None

    @classmethod
    def of(cls, accept: str | None, name: str | None) -> "Wish":
        """Raises: Problem 422 for a name that is none, naming what there is."""
        try:
            return cls(accept, None if name is None else Form(name.lower()))
        except ValueError:
            fault = FieldError("format", f"must be one of {', '.join(Form)}")
            raise invalid("There is no such form of the output.", [fault]) from None

    def among(self, forms: Sequence[Form]) -> Form:
        """The form to give, of those that there are of this output.

        By the Accept header it is the one of the best quality; of equally good ones that which is named most exactly,
        then first in the header, then first in `forms`. Raises: Problem 406, when none of them is wanted.
        """
        if self.name is not None:
            if self.name not in forms:
                raise _not_acceptable(forms)
            return self.name
        ranges = _ranges(self.accept or "*/*")
        ranked = [(_rank(form, ranges), form) for form in forms]
        (quality, _, _), best = max(ranked, key=lambda pair: pair[0])  # the first of equal ones
        if quality <= 0:
            raise _not_acceptable(forms)
        return best


def _not_acceptable(forms: Sequence[Form]) -> Problem:
    *others, last = forms
    detail = f"This output is there as {', '.join(others)} and {last}."
    return Problem(406, "not_acceptable", "No such form", detail)


def _rank(form: Form, ranges: Sequence[tuple[str, float]]) -> tuple[float, int, int]:
    """Quality by the range that fits most exactly (RFC 9110, 12.5.1), how exactly it fits, and minus its place."""
    names = ("*/*", form.media_type.partition("/")[0] + "/*", form.media_type)
    fitting = [
        (names.index(name), -place, quality) for place, (name, quality) in enumerate(ranges) if name in names
    ]
    if not fitting:
        return 0.0, 0, 0
    exactness, place, quality = max(fitting)
    return quality, exactness, place


def _ranges(accept: str) -> Sequence[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        found.append((name, _quality(quality)))
    return found


def _quality(text: str) -> float:
    """0, as of what is not wanted, where it is none."""
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0
