"""Lines of a file about old executions, checked and made into lines of the ledger. Pure.

A line has the fields `execution_id, user, engine_id, engine_name, outcome, ended` and, of what it used, `model` and the
tokens `input, cached, output, thoughts, tool` (`tokens: {...}` in JSON). May be left out: `started`, `requested`, `calls`,
`certainty`, and tokens of which there were none. An execution that used several models has a line for each.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.analytics.pricing import PriceList
from services.analytics.rollup import Entry, Mark, facts_of
from shared.usage import Certainty, ModelUsage, Tier, Tokens, kind_of

OUTCOMES = ("completed", "stopped", "failed")
KINDS = ("input", "cached", "output", "thoughts", "tool")
MOST = 2**53
OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
_IDS = uuid.UUID("8f1d52a6-4c6b-5f0e-9a35-6c656b68696b")
"""Name space of the ids that are made of old ones that are no UUIDs: the same old one always gives the same."""
_UNKNOWN = re.compile(r"(unknown|none|null|n/?a|undefined)?( engine| model)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is not imported. `field` is what is wrong in it, empty when it is the line as a whole."""

    line: int
    field: str
    reason: str
    execution_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What people, engines and outcomes of the file are called here. Engines by their old id or name."""

    users: Mapping[str, str] = field(default_factory=dict)
    engines: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that is right by itself. `whose` must be the same in all lines of an execution."""

    number: int
    old_id: str
    execution_id: str
    whose: tuple[Any, ...]
    model: str
    tokens: Tokens
    calls: int


class _Wrong(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def read(number: int, given: Mapping[str, Any], names: Names, now: datetime) -> Line | Fault:
    old_id = _text(given.get("execution_id"))
    try:
        return _read(number, given, names, now)
    except _Wrong as wrong:
        return Fault(number, wrong.field, wrong.reason, old_id)


def _read(number: int, given: Mapping[str, Any], names: Names, now: datetime) -> Line:
    old_id = _short(given, "execution_id")
    tokens = _tokens(given)
    ended = _time(given, "ended", now)
    if ended is None:
        raise _Wrong("ended", "is missing: a time such as 2025-10-01T12:00:00Z")
    started = _time(given, "started", now)
    requested = _time(given, "requested", now) or started or ended
    if started is not None and started > ended:
        raise _Wrong("started", "is after `ended`")
    return Line(
        number=number,
        old_id=old_id,
        execution_id=_canonical(old_id) or str(uuid.uuid5(_IDS, old_id)),
        whose=(
            _user(given, names),
            *_engine(given, names),
            _outcome(given, names),
            ended,
            started,
            requested,
        ),
        model=_model(given, tokens),
        tokens=tokens,
        calls=_count(given, "calls") or 1,
    )


def _canonical(text: str) -> str | None:
    """A UUID as it is written here, however it was written; None for what is no UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _short(given: Mapping[str, Any], name: str) -> str:
    text = _text(given.get(name))
    if not text:
        raise _Wrong(name, "is missing")
    if len(text) > 200 or "\0" in text:
        raise _Wrong(name, "must have at most 200 characters, and no NUL")
    return text


def _user(given: Mapping[str, Any], names: Names) -> str:
    old = _short(given, "user")
    user = _canonical(names.users.get(old, old))
    if user is None:
        raise _Wrong("user", f"{old!r} is no user id (a UUID); say in the map under `users` who it is here")
    return user


def _engine(given: Mapping[str, Any], names: Names) -> tuple[str, str]:
    old_id, old_name = _text(given.get("engine_id")), _text(given.get("engine_name"))
    engine_id, name = names.engines.get(old_id) or names.engines.get(old_name) or (old_id, None)
    name = name or old_name
    for field_name, value in (("engine_id", engine_id), ("engine_name", name)):
        if _UNKNOWN.fullmatch(value):
            raise _Wrong(field_name, "is not known; say in the map under `engines` which one it is")
        _short({field_name: value}, field_name)
    return engine_id, name


def _outcome(given: Mapping[str, Any], names: Names) -> str:
    old = _short(given, "outcome")
    outcome = names.outcomes.get(old, old)
    if outcome not in OUTCOMES:
        raise _Wrong(
            "outcome", f"{old!r} is none of {', '.join(OUTCOMES)}; the map may say so under `outcomes`"
        )
    return outcome


def _time(given: Mapping[str, Any], name: str, now: datetime) -> datetime | None:
    text = _text(given.get(name))
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise _Wrong(name, f"{text[:40]!r} is not a time such as 2025-10-01T12:00:00Z") from None
    if time.tzinfo is None:
        raise _Wrong(name, "has no time zone: end it with Z or an offset such as +01:00")
    if not OLDEST <= time <= now:
        raise _Wrong(name, f"must be between {OLDEST:%Y-%m-%d} and now")
    return time.astimezone(UTC)


def _tokens(given: Mapping[str, Any]) -> Tokens:
    nested = given.get("tokens")
    if nested is not None and not isinstance(nested, Mapping):
        raise _Wrong("tokens", "must be an object with input, cached, output, thoughts and tool")
    source = given if nested is None else nested
    counts = {kind: _count(source, kind) for kind in KINDS}
    if counts["cached"] > counts["input"]:
        raise _Wrong("cached", "is more than `input`, of which it is a part")
    certainty = _text(given.get("certainty")) or Certainty.MEASURED
    if certainty not in (Certainty.MEASURED, Certainty.ESTIMATED):
        raise _Wrong("certainty", "must be measured or estimated")
    return Tokens(**counts, certainty=Certainty(certainty))


def _count(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    if value is None or value == "":
        return 0
    text = _text(value)
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > MOST:
        raise _Wrong(name, f"{text[:40]!r} is not a whole number from 0 on")
    return int(text)


def _model(given: Mapping[str, Any], tokens: Tokens) -> str:
    if not tokens.total:
        return ""
    model = _short(given, "model")
    if _UNKNOWN.fullmatch(model):
        raise _Wrong("model", "is not known, and has tokens")
    return model


def gather(lines: Iterable[Line | Fault]) -> tuple[list[list[Line]], list[Fault]]:
    """Lines by execution. One that is wrong in any of its lines is rejected with all of them: it is counted once."""
    faults: list[Fault] = []
    found: dict[str, list[Line]] = {}
    bad: dict[str, int] = {}
    for line in lines:
        if isinstance(line, Fault):
            faults.append(line)
            bad.setdefault(line.execution_id, line.line)
            continue
        known = found.setdefault(line.execution_id, [])
        if known and known[0].whose != line.whose:
            reason = (
                f"user, engine, outcome or times are not those of line {known[0].number}, the same execution"
            )
            faults.append(Fault(line.number, "execution_id", reason, line.old_id))
            bad.setdefault(line.old_id, line.number)
        else:
            known.append(line)
    for execution_id, group in list(found.items()):
        other = bad.get(group[0].old_id)
        if other is not None:
            reason = f"line {other} of the same execution was rejected"
            faults += [Fault(line.number, "", reason, line.old_id) for line in group]
            del found[execution_id]
    return list(found.values()), faults


def entry_of(group: list[Line], tiers: Mapping[str, Tier], prices: PriceList) -> Entry:
    """What is not known to be included is paid for, as everywhere."""
    first = group[0]
    user_id, engine_id, engine_name, outcome, ended, started, requested = first.whose
    usage = [
        ModelUsage(
            model=line.model,
            tier=tiers.get(prices.priced_as(line.model), Tier.PAYG),
            tokens=line.tokens,
            calls=line.calls,
        )
        for line in group
        if line.tokens.total
    ]
    mark = Mark(
        execution_id=first.execution_id,
        user_id=user_id,
        engine_id=engine_id,
        engine_name=engine_name,
        ended_at=ended,
        event_id=f"import:{first.execution_id}",
        outcome=outcome,
        kind=kind_of(part.tier for part in usage).value,
        attempts=1,
        requested_at=requested,
        started_at=started,
    )
    return Entry(mark=mark, facts=facts_of(first.execution_id, usage, ended, prices))
