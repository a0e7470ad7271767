"""`python -m services.analytics.import_executions FILE`: old executions of a CSV or JSON lines file into the ledger.

The whole file is checked first. What is right is counted in chunks, each in a transaction; what is not goes to a file with the
reason. The same file again changes nothing, and an execution of this system is never counted from a file.
"""

import argparse
import asyncio
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.analytics import acts
from services.analytics.import_lines import Fault, Line, Names, entry_of, gather, read
from services.analytics.maintenance import run_program
from services.analytics.statements import KNOWN_IDS, KNOWN_USERS, TIERS
from services.analytics.store import Arrived, Store
from shared import json_values
from shared.csv_cells import harmless
from shared.db import transaction
from shared.errors import Permanent
from shared.usage import Tier

CHUNK = 1000
"""Executions in one transaction."""
MOST_CHARACTERS = 1_000_000
"""Of a line of JSON; a good one has less than a thousand."""
_SHOWN = 200
"""Characters of an id that are kept of a rejected line."""
_IS_REAL = "is an execution of this system, which is counted by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    file: Path
    names: Names
    rejected: Path
    dry_run: bool


def records(file: Path) -> Iterator[tuple[int, Mapping[str, Any] | Fault]]:
    """Line number and content. CSV has a header; whatever does not end in `.csv` is JSON lines.

    Raises: Permanent, when the file can not be read at all.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            yield from _rows(text) if file.suffix.lower() == ".csv" else _objects(text)
    except csv.Error as error:
        raise Permanent(f"{file} can not be read: its header, line 1: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(f"{file} can not be read: {error}") from None


def _rows(text: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | Fault]]:
    """Raises: csv.Error, for the header. A row that can not be read is a fault, and the next one begins in the next line."""
    reader = csv.DictReader(text)
    _ = reader.fieldnames
    while True:
        begun = reader.reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield begun, _wrong_line(begun, _unread(begun, reader.reader.line_num, error))
            continue
        number = reader.line_num
        yield number, _wrong_line(number, "has more cells than the header") if None in row else row


def _unread(first: int, last: int, error: csv.Error) -> str:
    if last <= first:
        return f"can not be read: {error}"
    return f"can not be read up to line {last}, with which it is one row by an open quote: {error}"


def _objects(text: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | Fault]]:
    for number, line in enumerate(text, start=1):
        if line.strip():
            yield number, _object(number, line)


def _object(number: int, line: str) -> Mapping[str, Any] | Fault:
    if len(line) > MOST_CHARACTERS:
        return _wrong_line(number, f"is longer than {MOST_CHARACTERS:,} characters")
    try:
        found = json.loads(line)
    except ValueError as error:
        return _wrong_line(number, f"is not JSON: {error}")
    except RecursionError:
        return _wrong_line(number, "is nested too deep to be read")
    if not isinstance(found, dict):
        return _wrong_line(number, "is not a JSON object")
    wrong = json_values.fault(found, MOST_CHARACTERS)
    return found if wrong is None else Fault(number, *wrong, _old_id(found))


def _old_id(found: Mapping[str, Any]) -> str:
    """For the other lines of the same execution."""
    given = found.get("execution_id")
    return (
        given.strip() if isinstance(given, str) and json_values.fault(given, MOST_CHARACTERS) is None else ""
    )


def _wrong_line(number: int, reason: str) -> Fault:
    return Fault(number, "", reason)


async def import_executions(engine: AsyncEngine, wanted: Wanted) -> dict[str, Any]:
    """Raises: Permanent, for a file that can not be read; Unavailable."""
    now = datetime.now(UTC)
    lines = (
        given if isinstance(given, Fault) else read(number, given, wanted.names, now)
        for number, given in records(wanted.file)
    )
    groups, faults = gather(lines)
    store = Store(engine)
    prices = await store.prices()
    ready: list[list[Line]] = []
    before = 0
    async with transaction(engine) as connection:
        tiers = {row.name: Tier(row.tier) for row in await connection.execute(TIERS)}
        for start in range(0, len(groups), CHUNK):
            good, known, wrong = await _new(connection, groups[start : start + CHUNK])
            ready += good
            before += known
            faults += wrong
    new = 0
    if ready and not wanted.dry_run:
        await acts.record(engine, "usage.import", {"executions": len(ready)})
        for start in range(0, len(ready), CHUNK):
            chunk = ready[start : start + CHUNK]
            counted = await store.count(
                [Arrived(seq=0, body=b"", entry=entry_of(group, tiers, prices)) for group in chunk]
            )
            new += counted.new
            refused = {reject.origin.execution_id: reject.detail for reject in counted.rejects}
            faults += [
                Fault(line.number, "", refused[line.execution_id], line.old_id)
                for group in chunk
                for line in group
                if line.execution_id in refused
            ]
    _write(wanted.rejected, faults)
    return {
        "dry_run": wanted.dry_run,
        "executions": len(ready) if wanted.dry_run else new,
        "imported_before": before,
        "rejected_lines": len(faults),
        "rejects": str(wanted.rejected) if faults else None,
    }


async def _new(
    connection: AsyncConnection, groups: Sequence[list[Line]]
) -> tuple[list[list[Line]], int, list[Fault]]:
    """Those to import, how many were imported before, and faults that only the database knows of."""
    ids = [group[0].execution_id for group in groups]
    found = await connection.execute(KNOWN_IDS, {"ids": ids})
    known: dict[str, bool] = {}
    for row in found:
        known[row.id] = known.get(row.id, True) and row.imported
    asked = {group[0].whose[0] for group in groups}
    users = {row.id for row in await connection.execute(KNOWN_USERS, {"ids": list(asked)})}
    good, faults = [], []
    for group in groups:
        user_id, imported = group[0].whose[0], known.get(group[0].execution_id)
        if imported is False:
            faults += [Fault(line.number, "execution_id", _IS_REAL, line.old_id) for line in group]
        elif user_id not in users:
            reason = f"there is no user {user_id} here"
            faults += [Fault(line.number, "user", reason, line.old_id) for line in group]
        elif imported is None:
            good.append(group)
    return good, sum(known.values()), faults


def _write(file: Path, faults: Sequence[Fault]) -> None:
    """In order of the lines. Without any, a file of an earlier try goes."""
    if not faults:
        file.unlink(missing_ok=True)
        return
    with file.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(["line", "field", "reason", "execution_id"])
        for fault in sorted(faults, key=lambda fault: fault.line):
            cells = (fault.line, fault.field, fault.reason, fault.execution_id[:_SHOWN])
            writer.writerow([harmless(cell) for cell in cells])


def names_of(file: Path | None) -> Names:
    """`{"users": {old: id}, "engines": {old id or name: id or {"id", "name"}}, "outcomes": {old: outcome}}`

    Raises: Permanent, naming what is wrong.
    """
    if file is None:
        return Names()
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Permanent(f"the map {file} can not be read: {error}") from None
    parts: dict[str, Any] = given if isinstance(given, dict) else {"": None}
    for name, part in parts.items():
        if name not in ("users", "engines", "outcomes") or not isinstance(part, dict):
            raise Permanent(
                f"the map {file}: {name!r} must be one of users, engines, outcomes, and an object"
            )
    engines = {old: _engine(file, old, new) for old, new in parts.get("engines", {}).items()}
    texts = {
        name: {old: str(new) for old, new in parts.get(name, {}).items()} for name in ("users", "outcomes")
    }
    return Names(users=texts["users"], engines=engines, outcomes=texts["outcomes"])


def _engine(file: Path, old: str, new: Any) -> tuple[str, str | None]:
    match new:
        case str():
            return new, None
        case {"id": str(engine_id), "name": str(name)}:
            return engine_id, name
        case _:
            raise Permanent(f'the map {file}: engines.{old} must be an id, or {{"id": ..., "name": ...}}')


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code is 1 when nothing was done, and also when lines were rejected: then the rest was imported."""
    parser = argparse.ArgumentParser(
        prog="python -m services.analytics.import_executions", description=__doc__
    )
    parser.add_argument("file", type=Path, help="*.csv with a header, else JSON lines")
    parser.add_argument(
        "--map", type=Path, help="JSON: users, engines and outcomes that have other names here"
    )
    parser.add_argument("--rejected", type=Path, help="where rejects go; FILE.rejected.csv without it")
    parser.add_argument("--dry-run", action="store_true", help="check everything, count nothing")
    given = parser.parse_args(arguments)
    rejected = given.rejected or given.file.with_name(given.file.name + ".rejected.csv")
    rejected_lines = 0

    async def work(engine: AsyncEngine) -> dict[str, Any]:
        nonlocal rejected_lines
        wanted = Wanted(file=given.file, names=names_of(given.map), rejected=rejected, dry_run=given.dry_run)
        done = await import_executions(engine, wanted)
        rejected_lines = done["rejected_lines"]
        return done

    return asyncio.run(run_program("import", work)) or int(rejected_lines > 0)


if __name__ == "__main__":
    sys.exit(main())
