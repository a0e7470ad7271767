"""What pydantic finds wrong with a field, in our words. Pure."""

from collections.abc import Mapping
from typing import Any

_TIME = "must be a time with its zone, such as 2026-01-31T12:00:00Z"
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "string_pattern_mismatch": "is not written as it must be",
    "too_short": "must have at least one entry",
    "too_long": "must have at most {max_length:,} entries",
    "greater_than": "must be more than {gt:,.12g}",
    "greater_than_equal": "must be at least {ge:,.12g}",
    "less_than": "must be less than {lt:,.12g}",
    "less_than_equal": "must be at most {le:,.12g}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "timezone_aware": _TIME,
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "json_invalid": "is not JSON",
    "value_error": "{error}",
}
"""By pydantic's type of the fault."""


def told(fault: Mapping[str, Any]) -> str:
    """`fault` is one of a ValidationError's `errors()`. One that pydantic does not know itself says its own text."""
    words, context = _WORDS.get(fault["type"]), fault.get("ctx", {})
    if fault["type"] == "string_too_short" and context.get("min_length", 1) > 1:
        return f"must have at least {context['min_length']:,} characters"
    return str(fault["msg"]) if words is None else words.format(**context)
