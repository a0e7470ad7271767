"""`python -m services.gateway.downloads`: one conversion, in a process of its own.

Reads what `services.gateway.conversions` pickles from stdin, and writes the file to stdout. Ended by the system when it
takes more than `CPU_SECONDS` or `MEMORY_BYTES`.
"""

import os
import pickle
import resource
import sys
from contextlib import suppress

from services.gateway.downloads.convert import convert

CPU_SECONDS = 60
"""A text of 4,000,000 characters takes a half of it as DOCX."""
MEMORY_BYTES = 1 << 30
"""Of address space; such a text takes 0.5 GiB."""
NICENESS = 5
"""What serves requests comes first."""


def main() -> None:
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    with suppress(ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    source, form = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the gateway that started this
    sys.stdout.buffer.write(convert(source, form))


if __name__ == "__main__":
    main()
