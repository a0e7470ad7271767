"""Figures and how they are printed: a measurement beside its floor and its target."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(kw_only=True)
class Figure:
    """One row: what, how much, the bare floor in the same run, and the target."""

    what: str
    value: str
    floor: str = ""
    target: str = ""
    met: bool | None = None


@dataclass
class Report:
    figures: list[Figure] = field(default_factory=list)

    def latency(
        self, what: str, ours: Sequence[float], floor: Sequence[float], p50: float, p99: float
    ) -> None:
        """Milliseconds; targets too."""
        mine, bare = _pair(ours), _pair(floor)
        self.figures.append(
            Figure(
                what=f"{what} (n={len(ours)})",
                value=f"p50 {mine[0]:.1f} ms, p99 {mine[1]:.1f} ms",
                floor=f"p50 {bare[0]:.1f} ms, p99 {bare[1]:.1f} ms",
                target=f"p50 {p50:g} ms, p99 {p99:g} ms",
                met=mine[0] <= p50 and mine[1] <= p99,
            )
        )

    def bounded(self, what: str, ours: Sequence[float], *, p99: float) -> None:
        """Milliseconds, without a floor."""
        mine = _pair(ours)
        self.figures.append(
            Figure(
                what=f"{what} (n={len(ours)})",
                value=f"p50 {mine[0]:.1f} ms, p99 {mine[1]:.1f} ms",
                target=f"p99 {p99:,.0f} ms",
                met=mine[1] <= p99,
            )
        )

    def rate(self, what: str, ours: float, floor: float, target: float) -> None:
        """Per second."""
        self.figures.append(
            Figure(
                what=what,
                value=f"{ours:,.0f}/s",
                floor=f"{floor:,.0f}/s",
                target=f"{target:,.0f}/s",
                met=ours >= target,
            )
        )

    def plain(self, what: str, value: str) -> None:
        self.figures.append(Figure(what=what, value=value))

    def show(self) -> None:
        table = Table(title="Lekhika benchmark", title_justify="left")
        for column in ("figure", "measured", "bare floor", "target", ""):
            table.add_column(column)
        for figure in self.figures:
            mark = "" if figure.met is None else ("met" if figure.met else "missed")
            table.add_row(figure.what, figure.value, figure.floor, figure.target, mark)
        Console(width=140).print(table)


def _pair(values: Sequence[float]) -> tuple[float, float]:
    return statistics.median(values), percentile(values, 0.99)
