"""The SQL of what was used, by the starts of buckets: of each its sums, and those of its engines, models or kinds.

One text for whoever reads quarters of an hour and for whoever keeps days of them summed: an answer is the same whichever it is
made of.
"""

# ruff: noqa: S608 - every part of these texts is a constant of this file, or of its callers

from collections.abc import Sequence
from dataclasses import dataclass

_CALLS = ("estimated_calls", "unknown_calls")
SUMS = (
    *(f"{kind}_tokens" for kind in ("input", "cached", "output", "thoughts", "tool", "total")),
    *_CALLS,
    *("completed", "stopped", "failed"),
)
"""Columns, and what a list of sums has in its places."""


def _named(sums: dict[str, str]) -> str:
    return ", ".join(f"{value} AS {name}" for name, value in sums.items())


_EACH = {name: f"sum({name})::bigint" for name in SUMS}
_ALL = _EACH | {
    name: f"coalesce(sum({name}) FILTER (WHERE analytics_type = 'execution'), 0)::bigint" for name in _CALLS
}
EACH_SUM = _named(_EACH)
"""Of rows of one type: those of executions have all calls, and those of models have the calls of each."""
ALL_SUMS = _named(_ALL)
"""Of rows of both types: their calls are counted once."""

ARE_BARE = "line > 0 AND total_tokens = 0 AND certainty <> 'measured'"
"""Lines of the ledger without tokens that make their model's sum uncertain: of these the rollups have no row by model."""
_CALLS_OF_LINE = {
    f"{certainty}_calls": f"CASE WHEN certainty = '{certainty}' THEN calls ELSE 0 END"
    for certainty in ("estimated", "unknown")
}
BARE = _named(dict.fromkeys(SUMS, "0") | _CALLS_OF_LINE)
"""`SUMS` of such a line, taken for a row of type `token_usage`."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """`name` is the column with the groups: a JSON list, in the order of their keys, of lists of the keys and the sums."""

    name: str
    keys: tuple[str, ...]
    of_models: bool

    def lists(self, by: str, most: str) -> str:
        """A query for `by` and the groups."""
        sums, these = (_EACH, "WHERE analytics_type = 'token_usage'") if self.of_models else (_ALL, "")
        order = ", ".join(f'{key} COLLATE "C"' for key in self.keys)
        return f"""
    SELECT {by}, json_agg(list ORDER BY {order}) AS {self.name}
    FROM (SELECT {by}, {", ".join(self.keys)}, json_build_array({", ".join([*self.keys, *sums.values()])}) AS list
        FROM used {these} GROUP BY {by}, {", ".join(self.keys)} {most}) AS one
    GROUP BY {by}"""


ENGINES = Grouping("engines", ("engine_id", "engine_name"), of_models=False)
MODELS = Grouping("models", ("model",), of_models=True)
KINDS = Grouping("kinds", ("model_type",), of_models=True)
GROUPINGS = (ENGINES, MODELS, KINDS)


def by_starts(
    used: str, groupings: Sequence[Grouping], *, by: str = "start", more: str = "", most: str = ""
) -> str:
    """A query for `by`, the list `sums`, the sum of a column `more`, and the groups of each grouping.

    `used`: a query for rows of `user_analytics`, as they are or summed, with `by`, `analytics_type`, the keys of all groupings,
    and `SUMS`. `most`: a LIMIT for how many groups are listed.
    """
    columns = [by, "sums", *([more] if more else [])]
    columns += [f"coalesce({grouping.name}, '[]') AS {grouping.name}" for grouping in groupings]
    joins = "".join(
        f"\nLEFT JOIN ({grouping.lists(by, most)}) AS {grouping.name} USING ({by})" for grouping in groupings
    )
    return f"""
WITH used AS MATERIALIZED ({used})
SELECT {", ".join(columns)}
FROM (SELECT {by}, json_build_array({", ".join(_ALL.values())}) AS sums{f", sum({more})::bigint AS {more}" if more else ""}
    FROM used GROUP BY {by}) AS whole{joins}"""
