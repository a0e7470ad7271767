"""Where a page of a list ended: a time and an id, as one text that callers hand back."""

import base64
from datetime import datetime

import orjson

from services.gateway.problems import FieldError, invalid
from services.gateway.resource import rfc3339
from shared.ids import is_id


def cursor_of(time: datetime, row_id: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([rfc3339(time), row_id])).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """Raises: Problem 422 for what `cursor_of` never gave out."""
    try:
        time, row_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = datetime.fromisoformat(time)
        if found.tzinfo is None or not is_id(row_id):
            raise ValueError(cursor)
    except (ValueError, TypeError, AttributeError):
        fault = FieldError("cursor", "is not valid")
        raise invalid("Take the cursor from an answer's next_cursor.", [fault]) from None
    return found, row_id
