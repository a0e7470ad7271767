"""The examples of docs/http.md, run in the order of the page, each in a shell with what the answers before it gave."""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
EXAMPLES: list[str] = re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL)
PROBLEM: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL)[0])
EVENTS = set(
    re.findall(r"^\| `([a-z]+)` \|", _PAGE.partition("| event |")[2].partition("\n\n")[0], re.MULTILINE)
)

_TOLD = r'curl() { command curl -sS --max-time 90 -w "%{stderr}=%{http_code}\n" "$@"; }'
"""Tells the status of every answer, which the page's own commands need not."""


@dataclass(frozen=True)
class Ran:
    """`wanted`: the statuses that the page allows, of each command."""

    output: str
    statuses: list[int]
    wanted: list[set[int]]

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object that it printed; nothing if that is not what it did."""
        body = self.output.rpartition("\r\n\r\n")[2] or self.output
        try:
            found: dict[str, Any] = json.loads(body)
        except ValueError:
            return {}
        return found


async def run(example: str, folder: Path, given: Mapping[str, str]) -> Ran:
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", f"{_TOLD}\n{example}",
        cwd=folder, env={**os.environ, **given}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    statuses = [int(status) for status in re.findall(r"^=(\d{3})$", errors.decode(), re.MULTILINE)]
    wanted = [
        {int(status) for status in re.findall(r"\b\d{3}\b", note)}
        for note in re.findall(r"  # (.*)$", example, re.M)
    ]
    return Ran(output.decode(errors="replace"), statuses, wanted)


def learned(answer: Mapping[str, Any]) -> dict[str, str]:
    """What later examples name."""
    names = {"csrf_token": "CSRF", "key": "KEY"} | ({"id": "ID"} if "engine" in answer else {})
    return {name: answer[member] for member, name in names.items() if member in answer}
