"""Remembers which processes a stack has started, and ends those that a killed supervisor left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from deploy.local.home import read_json, write_private
from deploy.local.processes import end_at_once


class ProcessRecords:
    """A file of pids with start times; the time tells a leftover from a stranger with the same number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: list[dict[str, Any]] = []

    def add(self, name: str, pid: int) -> None:
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        alive = [record for record in self._records if _process(record) is not None]
        self._records = [*alive, {"name": name, "pid": pid, "created": created}]
        write_private(self._path, self._records)

    def end_leftovers(self) -> list[str]:
        """Kills what an earlier holder of this home has left, and returns the names; call it under the lock."""
        if not self._path.exists():
            return []
        found = {record["name"]: process for record in read_json(self._path) if (process := _process(record))}
        end_at_once(found.values())
        return list(found)

    def clear(self) -> None:
        self._records = []
        self._path.unlink(missing_ok=True)


def _process(record: dict[str, Any]) -> psutil.Process | None:
    try:
        process = psutil.Process(record["pid"])
        same = abs(process.create_time() - record["created"]) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
