"""Servers that several files of the fault suite share."""

from tests.integration.conftest import database

__all__ = ["database"]
