"""What a person has to type to call this program."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

NAME = "lekhika"
IN_A_CLONE = f".venv/bin/{NAME}"


def program_name() -> str:
    """The bare name where the PATH has it, else the path by which it was called, else that of a fresh clone."""
    if shutil.which(NAME):
        return NAME
    called = Path(sys.argv[0])
    if called.name != NAME:
        return IN_A_CLONE
    here = Path.cwd()
    return str(called.relative_to(here) if called.is_relative_to(here) else called)
