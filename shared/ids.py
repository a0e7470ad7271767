"""Identifiers: UUIDv7, so that ids sort by their time of creation."""

import re

from uuid_utils.compat import uuid7

_CANONICAL = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A new id in canonical lower-case form, 36 characters."""
    return str(uuid7())


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in the canonical form that subjects and keys are built from."""
    return _CANONICAL.fullmatch(text) is not None
