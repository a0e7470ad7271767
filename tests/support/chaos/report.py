"""Figures of a run: how soon the work of a killed executor went on, and what happened in all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared import events as ev
from tests.support.chaos.evidence import Evidence, unix
from tests.support.chaos.fleet import Life

SETTLED_SECONDS = 15.0
"""How long an executor must have been left in peace before it can judge another."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """`seconds` from the death of the owner to the next `started` or end.

    `calm`: NATS was there all the while, and another executor, which had been up for a while, was left in peace.
    """

    execution_id: str
    seconds: float
    calm: bool


def takeovers(evidence: Evidence) -> list[Takeover]:
    return [found for history in evidence.histories.values() for found in _of(history, evidence)]


def _of(history: Sequence[ev.Recorded], evidence: Evidence) -> Iterator[Takeover]:
    for number, recorded in enumerate(history):
        if not isinstance(recorded.event, ev.ExecutionStarted):
            continue
        life = evidence.lives.get(recorded.event.instance)
        if life is None or life.ended is None or not life.killed:
            continue
        after = history[number + 1 :]
        until = next((r for r in after if r.event.type in ("started", "released", *ev.TERMINAL_TYPES)), None)
        if until is None or unix(until.time) < life.ended:
            continue
        died, gone_on = life.ended, unix(until.time)
        yield Takeover(recorded.execution_id, gone_on - died, _calm(evidence, died, gone_on))


def _calm(evidence: Evidence, died: float, gone_on: float) -> bool:
    def overlap(spans: Sequence[tuple[float, float]]) -> bool:
        return any(began < gone_on and ended > died - SETTLED_SECONDS for began, ended in spans)

    def in_peace(life: Life) -> bool:
        up = life.began < died - SETTLED_SECONDS and (life.ended is None or life.ended > gone_on)
        return up and not overlap([*life.frozen, *evidence.held.get(life.member, ())])

    executors = [life for life in evidence.lives.values() if life.member.startswith("executor")]
    return not overlap(evidence.outages) and any(in_peace(life) for life in executors)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))] if ordered else 0.0


def line(title: str, values: Sequence[float]) -> str:
    figures = "  ".join(f"{percentile(values, share):7.2f}" for share in (0.5, 0.9, 0.99, 1.0))
    return f"  {title:<44} {len(values):5d}   {figures}"


def table(title: str, figures: Mapping[str, object], times: Mapping[str, Sequence[float]]) -> str:
    rows = [f"\n{title}", *(f"  {name:<44} {value}" for name, value in figures.items())]
    rows.append(f"  {'seconds':<44} {'n':>5}   {'p50':>7}  {'p90':>7}  {'p99':>7}  {'max':>7}")
    rows += [line(name, values) for name, values in times.items()]
    return "\n".join(rows)
