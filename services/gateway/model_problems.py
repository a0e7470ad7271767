"""What the routes of models refuse."""

from services.gateway.price_rules import PriceRefused
from services.gateway.problems import FieldError, Problem, invalid


def not_found(name: str) -> Problem:
    detail = f"There is no model {name[:200]!r} in the catalogue; GET /v1/admin/models lists them."
    return Problem(404, "model_not_found", "No such model", detail)


def bad_successor(detail: str) -> Problem:
    return invalid(f"successor: {detail}", [FieldError("successor", detail)])


def price_refused(refusal: PriceRefused) -> Problem:
    """409 for what has begun, 422 for what is missing."""
    errors = [FieldError(refusal.field, refusal.detail)]
    detail = f"{refusal.field}: {refusal.detail}"
    if refusal.code == "price_has_begun":
        return Problem(409, refusal.code, "The price can not be set", detail, errors)
    return invalid(detail, errors, refusal.code)


def no_list(detail: str) -> Problem:
    """No executor, or its provider, could tell what models there are."""
    title = "The provider's list can not be had"
    return Problem(503, "no_model_list", title, detail, headers={"Retry-After": "10"})
