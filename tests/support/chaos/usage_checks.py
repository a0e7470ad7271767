"""Tokens: of the ends, of the usage ledger, of the rollups, and of the stand-in, which knows the truth."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from services.analytics.statements import DIFFERENCES
from shared import events as ev
from shared.usage import Certainty, ModelUsage
from tests.support.chaos.evidence import TOKENS, Counts, Evidence, query, unix
from tests.support.chaos.log_checks import story
from tests.support.chaos.site import Site


def tokens_of(parts: Iterable[ModelUsage]) -> Counts:
    total = [0] * len(TOKENS)
    for part in parts:
        for place, kind in enumerate(TOKENS):
            total[place] += getattr(part.tokens, kind)
    return tuple(total)


def _sum(counts: Iterable[Counts]) -> Counts:
    return tuple(map(sum, zip(*counts, strict=True))) or (0,) * len(TOKENS)


def usage_faults(evidence: Evidence) -> Iterator[str]:
    """Never more than the truth; less only where the end says that it does not know all."""
    for key, state in evidence.states.items():
        truth = _sum(call.tokens for call in evidence.calls_of(key))
        counted = tokens_of(state.usage)
        certainties = {part.tokens.certainty for part in state.usage}
        told = f"counted {counted}, truth {truth}, {sorted(certainties)}; {story(evidence.histories[key])}"
        if any(mine > real for mine, real in zip(counted, truth, strict=True)):
            yield f"{key}: more than the truth: {told}"
        elif counted != truth and certainties <= {Certainty.MEASURED}:
            yield f"{key}: less than the truth, and said to be measured: {told}"
        yield from _node_faults(evidence, key)


def _node_faults(evidence: Evidence, key: str) -> Iterator[str]:
    """What a finished node has measured is what one of its calls has cost."""
    history = evidence.histories[key]
    begun: dict[str, float] = {}
    for recorded in history:
        event = recorded.event
        if isinstance(event, ev.NodeStarted):
            begun[event.node] = unix(recorded.time)
        elif isinstance(event, ev.NodeCompleted) and event.usage:
            calls = [call for call in evidence.calls_of(key) if call.node == event.node]
            own = [c.tokens for c in calls if begun[event.node] - 0.001 <= c.begun <= unix(recorded.time)]
            if tokens_of(event.usage) not in own:
                yield f"{key}: node {event.node} counts {tokens_of(event.usage)}, its calls {own}"


def ledger_faults(evidence: Evidence) -> Iterator[str]:
    """One mark for each end, and its lines are the usage of the end."""
    for key, state in evidence.states.items():
        lines = evidence.ledger.get(key, ())
        marks = [line for line in lines if line["line"] == 0]
        if len(marks) != 1 or marks[0]["outcome"] != state.status.value:
            yield f"{key}: ended {state.status}, counted as {[mark['outcome'] for mark in marks]}"
            continue
        told = Counter(_line_of(part) for part in state.usage)
        booked = Counter(_booked(line) for line in lines if line["line"] > 0)
        if told != booked:
            yield f"{key}: its end says {told - booked}, the ledger {booked - told}"
    for key in evidence.ledger.keys() - evidence.states.keys():
        yield f"{key}: counted, and not in the log"


def _line_of(part: ModelUsage) -> tuple[Any, ...]:
    return (part.model, part.tokens.certainty.value, part.calls, *tokens_of([part]))


def _booked(line: Any) -> tuple[Any, ...]:
    return (line["model"], line["certainty"], line["calls"], *(line[f"{kind}_tokens"] for kind in TOKENS))


def rollup_faults(site: Site) -> Sequence[str]:
    return [f"rollups differ from the ledger: {row}" for row in query(site, DIFFERENCES.text)]
