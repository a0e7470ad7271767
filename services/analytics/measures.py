"""Metrics that only this service has. Those it shares with others are in `shared.conventions`."""

from prometheus_client import Counter, Histogram

COUNTED = Counter(
    "lekhika_rollup_events_total",
    "Terminal events taken in. result: new, repeated (counted before), set_aside (could not be counted).",
    ["result"],
)
BATCH_EVENTS = Histogram(
    "lekhika_rollup_batch_events",
    "Events in one batch.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000),
)
BEHIND_SECONDS = Histogram(
    "lekhika_rollup_behind_seconds",
    "From an event's time in the log to the commit that counted it.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600),
)
UNPRICED = Counter(
    "lekhika_rollup_unpriced_total", "Lines of the ledger that got no cost for want of a price."
)
