"""YAML as definitions are written in it: no key twice, and no more entries by `<<` than a definition can have."""

from __future__ import annotations

from typing import Any

import yaml

MOST_ENTRIES = 100_000
"""Of all mappings together, those that `<<` copies included: a few lines can ask for billions."""
_MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """Raises yaml.MarkedYAMLError also for a key that stands twice in a mapping."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._seen: set[int] = set()
        self._entries = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Called once for each mapping, and once more for each place that `<<` copies it to."""
        if id(node) not in self._seen:  # copied entries stand before its own from then on
            self._seen.add(id(node))
            _refuse_twins(node)
        super().flatten_mapping(node)
        self._entries += len(node.value)
        if self._entries > MOST_ENTRIES:
            raise _wrong(node, f"it holds more than {MOST_ENTRIES:,} entries")


def load(text: str) -> Any:
    """Raises yaml.YAMLError; ValueError or OverflowError for a scalar; RecursionError."""
    return yaml.load(text, Loader)  # noqa: S506 - it is a SafeLoader


def _refuse_twins(node: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        name = (key.tag, key.value)
        if name in first:
            raise _wrong(key, f"the key {key.value[:100]!r} stands in line {first[name]} already")
        first[name] = key.start_mark.line + 1


def _wrong(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
