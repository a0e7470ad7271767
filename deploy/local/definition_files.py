"""Definitions of engines in files: JSON or YAML, by the end of the name."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from deploy.local import yaml_loader
from shared import json_values
from shared.errors import Permanent

_YAML = frozenset({".yaml", ".yml"})
_STORED = frozenset({"version", "shared", "owner", "updated_at"})
"""What the gateway's answer has beside the definition."""
_HEAD = ("id", "name", "description", "inputs", "limits")
"""What a person reads first."""
_MOST_CHARACTERS = 1_000_000
"""Several times what a definition may have, so that it is the check that says by how much it is too large."""


class WrongFile(Permanent):
    """A file that holds no definition; the text says where it is wrong."""


def read_definition(file: Path) -> dict[str, Any]:
    """`-` is standard input. Raises OSError when the file can not be read, and WrongFile."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        content = parse(text, file.suffix)
    except UnicodeDecodeError as problem:
        raise WrongFile(f"{file}: this is not text in UTF-8.") from problem
    except ValueError as problem:
        raise WrongFile(f"{file}: {problem}") from problem
    if not isinstance(content, dict):
        raise WrongFile(f"{file} does not hold a definition.")
    # YAML knows dates, a list that holds itself, and a few lines that stand for billions.
    fault = json_values.fault(content, _MOST_CHARACTERS)
    if fault is not None:
        raise WrongFile(f"{file}: {fault[0] or 'the definition'} {fault[1]}")
    return content


def definition_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What its author wrote, with what a person reads first at the top."""
    names = [*(name for name in _HEAD if name in answer), *(name for name in answer if name not in _HEAD)]
    return {name: answer[name] for name in names if name not in _STORED}


def as_text(definition: Mapping[str, Any], suffix: str) -> str:
    """JSON for `.json`, YAML for everything else; the order of keys is kept."""
    if suffix.lower() == ".json":
        return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"
    text: str = yaml.safe_dump(dict(definition), sort_keys=False, allow_unicode=True, width=100)
    return text


def parse(text: str, suffix: str) -> Any:
    """Raises ValueError with the line and the column; without a telling suffix the text's start decides."""
    suffix = suffix.lower()
    read = _json if suffix == ".json" or (suffix not in _YAML and text.lstrip().startswith("{")) else _yaml
    try:
        return read(text)
    except RecursionError:
        raise ValueError("it is nested too deep to be read") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as problem:
        raise ValueError(f"not JSON, line {problem.lineno}, column {problem.colno}: {problem.msg}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name} is no number there")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:100]!r} stands twice in one object")
        found[name] = value
    return found


def _yaml(text: str) -> Any:
    try:
        return yaml_loader.load(text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ValueError(f"not YAML{where}: {problem.problem}") from None
    except yaml.YAMLError as problem:
        raise ValueError(f"not YAML: {' '.join(str(problem).split())}") from None
    except (
        OverflowError,
        LookupError,
        AttributeError,
    ) as problem:  # such as `!!int ""`, or 1:1:1:... as a number
        raise ValueError(f"not YAML: a value is not of its tag's form: {problem}") from None
