"""`lekhika usage` and `lekhika workers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from deploy.local import render
from deploy.local.options import HOME, AdminOption, HomeOption, JsonOption, open_client, print_json

TOKEN_KINDS = ("input", "cached", "output", "thoughts", "tool", "total")


class Bucket(StrEnum):
    HOUR = "hour"
    DAY = "day"


class Grouping(StrEnum):
    ENGINE = "engine"
    MODEL = "model"
    KIND = "kind"


def usage(
    by: Annotated[Bucket, typer.Option(help="One line for each hour or day.")] = Bucket.HOUR,
    group_by: Annotated[Grouping, typer.Option(help="What to tell apart within it.")] = Grouping.MODEL,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment: RFC 3339, or a date.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Moment after the last: RFC 3339, or a date.")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; this machine's unless given.")] = None,
    insights: Annotated[
        bool, typer.Option("--insights", help="Runs, success rate, mean tokens and duration of each engine.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
    as_admin: AdminOption = False,
) -> None:
    """Print the tokens that you have used."""
    if csv and as_json:
        raise typer.BadParameter("--csv and --json exclude each other.")
    query = {"timezone": timezone or render.own_time_zone(), "from": begin, "to": end}
    query |= {} if insights else {"bucket": by.value, "group_by": group_by.value}
    path = "/v1/usage/insights" if insights else "/v1/usage"
    with open_client(home, as_admin=as_admin) as client:
        if csv:
            print(client.text(path, "text/csv", **query), end="")
            return
        report = client.get(path, **query)
    if as_json:
        print_json(report)
    elif insights:
        print_insights(report)
    else:
        print_usage(report, group_by.value, by.value)


def print_usage(report: Mapping[str, Any], group_by: str, by: str) -> None:
    """A table of the buckets with their sum, and how old the figures are."""
    screen = render.console()
    groups = _groups(report["items"], group_by)
    rows = [
        [render.bucket(item["bucket"], by), group, *_counts(item["tokens"])]
        for item, group in zip(report["items"], groups, strict=True)
    ]
    rows.append(["sum", "", *_counts(report["totals"])])
    begin = f"{by} ({report['timezone']})"
    screen.print(render.table((begin, group_by, *TOKEN_KINDS), rows, right=TOKEN_KINDS))
    _print_as_of(screen, report)


def _groups(items: Sequence[Mapping[str, Any]], group_by: str) -> list[str]:
    if group_by == Grouping.ENGINE:
        return render.engine_labels([(item["engine_id"], item["engine_name"]) for item in items])
    return [item[group_by] for item in items]


def print_insights(report: Mapping[str, Any]) -> None:
    """A line for each engine; times on the clock of the zone that was asked for."""
    screen = render.console()
    figures = ("runs", "completed", "stopped", "failed", "success", "mean tokens", "mean seconds")
    engines = render.engine_labels(
        [(item["engine"]["id"], item["engine"]["name"]) for item in report["items"]]
    )
    rows = [
        (
            engine,
            *(f"{item[name]:,}" for name in figures[:4]),
            f"{item['success_rate']:.1%}",
            render.mean_tokens(item),
            "-" if item["mean_duration_seconds"] is None else f"{item['mean_duration_seconds']:,.1f}",
        )
        for item, engine in zip(report["items"], engines, strict=True)
    ]
    begin, end = (render.moment(report[name], report["timezone"]) for name in ("from", "to"))
    screen.print(render.table(("engine", *figures), rows, right=figures) if rows else "No runs have ended.")
    screen.print(f"{begin} to {end} ({report['timezone']})")
    _print_as_of(screen, report)


def _print_as_of(screen: Console, report: Mapping[str, Any]) -> None:
    if report.get("as_of"):
        as_of = render.moment(report["as_of"], report["timezone"])
        screen.print(f"as of {as_of}, {report.get('lag_seconds') or 0:.0f} s behind")


def _counts(counts: Mapping[str, Any]) -> list[str]:
    """Where nothing is known each is `-`; else what is known, and the total says by how much it can be trusted."""
    total = render.tokens(counts)
    parts = TOKEN_KINDS[:-1]
    return ["-"] * len(TOKEN_KINDS) if total == "-" else [*(f"{counts[kind]:,}" for kind in parts), total]


def workers(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List every instance of every service. Needs an admin's key; the local stack's is used there."""
    with open_client(home, as_admin=True) as client:
        page = client.get("/v1/admin/workers")
    if as_json:
        print_json(page)
        return
    rows = [
        (
            item["id"],
            item["service"],
            render.status(item["state"]),
            render.duration(item.get("uptime_seconds")),
            render.megabytes(item.get("memory_bytes")),
            f"{item.get('cpu_percent') or 0:.0f} %",
            _slots(item.get("slots")),
        )
        for item in page["items"]
    ]
    columns = ("id", "service", "state", "up", "memory", "cpu", "slots")
    render.console().print(render.table(columns, rows, right=columns[3:]))


def _slots(slots: Mapping[str, Any] | None) -> str:
    return f"{slots.get('used', 0)}/{slots.get('total', 0)}" if slots else ""


def register(app: typer.Typer) -> None:
    app.command()(usage)
    app.command()(workers)
