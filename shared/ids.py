"""Identifiers: UUIDv7, so that ids sort by their time of creation."""

import uuid

from uuid_utils.compat import uuid7


def new_id() -> str:
    """A new id in canonical lower-case form, 36 characters."""
    return str(uuid7())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in the canonical form that subjects and keys are built from."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
