"""Cells of CSV files, which people open with spreadsheets. Pure."""

from typing import Any


def harmless(cell: Any) -> Any:
    """Spreadsheets run what begins like a formula; an apostrophe makes it text."""
    runs = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{cell}" if runs else cell
