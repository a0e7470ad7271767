"""`lekhika models`, and `lekhika admin models ...`: the catalogue of models and their prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from deploy.local import render
from deploy.local.client import Client
from deploy.local.command_group import Commands
from deploy.local.options import HOME, HomeOption, JsonOption, open_client, print_json

app = typer.Typer(cls=Commands, no_args_is_help=True, help="The catalogue of models, and what they cost.")

PATH = "/v1/admin/models"
COLUMNS = ("model", "tier", "input limit", "output limit")
NameArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
ReasonOption = Annotated[str | None, typer.Option(help="Why; kept in the audit.")]
AmountOption = Annotated[str | None, typer.Option(metavar="USD", help="USD per million tokens.")]


class Tier(StrEnum):
    INCLUDED = "included"
    PAYG = "payg"


def _path(name: str) -> str:
    return f"{PATH}/{quote(name, safe='/')}"


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@app.command("list")
def list_(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List all models with the prices of today."""
    with open_client(home, as_admin=True) as client:
        page = client.get(PATH)
    if as_json:
        print_json(page)
        return
    now = datetime.now(UTC)
    columns = (*COLUMNS, "input", "cached", "output", "")
    rows = [
        (
            *_cells(item),
            *(price_of(item["prices"], kind, now) for kind in ("input", "cached", "output")),
            _remark(item),
        )
        for item in page["items"]
    ]
    render.console().print(render.table(columns, rows, right=columns[2:7]))


def models(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """List the models that engines may name, and retired ones with what to take instead."""
    with open_client(home) as client:
        page = client.get("/v1/models")
    if as_json:
        print_json(page)
        return
    rows = [(*_cells(item), _remark(item)) for item in page["items"]]
    render.console().print(render.table((*COLUMNS, ""), rows, right=COLUMNS[2:]))


def register(root: typer.Typer) -> None:
    root.command()(models)


def _cells(item: Mapping[str, Any]) -> tuple[str, ...]:
    limits = (item["input_limit"], item["output_limit"])
    return (item["name"], item["tier"], *("" if limit is None else f"{limit:,}" for limit in limits))


def price_of(prices: Iterable[Mapping[str, Any]], kind: str, now: datetime) -> str:
    """What holds now for prompts of usual length; empty when there is no price."""
    begun = [
        (datetime.fromisoformat(price["valid_from"]), price["price_per_million"])
        for price in prices
        if (price["token_kind"], price["threshold"], price["service_tier"]) == (kind, 0, "standard")
    ]
    return str(max((one for one in begun if one[0] <= now), default=(now, ""))[1])


def _remark(item: Mapping[str, Any]) -> str:
    words = []
    if item["retired_at"]:
        then = f"retired{'' if item['retired'] else ' from ' + item['retired_at'][:10]}"
        words.append(then + (f", take {item['successor']}" if item["successor"] else ""))
    if not item["capabilities"]["text"]:
        words.append("not known to answer with text")
    if item["unlisted_at"]:
        words.append(f"not listed by its provider since {item['unlisted_at'][:10]}")
    return "; ".join(words)


@app.command("set")
def set_(
    name: NameArgument,
    tier: Annotated[Tier | None, typer.Option(help="Needed for a new model.")] = None,
    input_limit: Annotated[int | None, typer.Option(metavar="TOKENS")] = None,
    output_limit: Annotated[int | None, typer.Option(metavar="TOKENS")] = None,
    text: Annotated[
        bool | None, typer.Option(help="It answers with text; else no engine may name it.")
    ] = None,
    streaming: Annotated[bool | None, typer.Option(help="It can stream.")] = None,
    structured_output: Annotated[bool | None, typer.Option(help="It follows a JSON Schema.")] = None,
    thinking: Annotated[bool | None, typer.Option(help="It can think before it answers.")] = None,
    reinstate: Annotated[bool, typer.Option("--reinstate", help="It is not retired any more.")] = False,
    reason: ReasonOption = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Add a model, or change what is given of one that is there."""
    can = {"text": text, "streaming": streaming, "structured_output": structured_output, "thinking": thinking}
    limits = {"input_limit": input_limit, "output_limit": output_limit}
    with open_client(home, as_admin=True) as client:
        body = _body_of(client, name, forget_retirement=reinstate)
        body |= _given({"tier": tier.value if tier else None, **limits, "reason": reason})
        body["capabilities"] = body.get("capabilities", {}) | _given(can)
        if "tier" not in body:
            raise typer.BadParameter(f"{name} is new: say its tier.", param_hint="--tier")
        stored = client.put(_path(name), body)
    print_json(stored) if as_json else print(f"{name}: {stored['tier']}")


def _body_of(client: Client, name: str, *, forget_retirement: bool) -> dict[str, Any]:
    """What a PUT has to say so that nothing changes; nothing for a new model."""
    kept = ["tier", "capabilities", "input_limit", "output_limit"]
    kept += [] if forget_retirement else ["retired_at", "successor"]
    for item in client.get(PATH)["items"]:
        if item["name"] == name:
            return {field: item[field] for field in kept}
    return {}


@app.command()
def price(
    name: NameArgument,
    input_: Annotated[str, typer.Option("--input", metavar="USD", help="USD per million tokens.")],
    output: Annotated[str, typer.Option(metavar="USD", help="USD per million tokens.")],
    cached: AmountOption = None,
    thoughts: AmountOption = None,
    tool: AmountOption = None,
    long_input: AmountOption = None,
    long_output: AmountOption = None,
    long_cached: AmountOption = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First moment, RFC 3339; now without it.")
    ] = None,
    reason: ReasonOption = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Set a model's prices from a moment on; --long-... are those of prompts over 200,000 tokens.

    Left out, cached tokens and those made by tools cost as input, and thoughts as output.
    """
    long = _given({"input": long_input, "output": long_output, "cached": long_cached})
    rates = {"input": input_, "output": output, "cached": cached, "thoughts": thoughts, "tool": tool}
    body = _given({**rates, "long": long or None, "valid_from": begin, "reason": reason})
    with open_client(home, as_admin=True) as client:
        stored = client.post(f"{_path(name)}/prices", body)
    told = f"{name}: input {input_}, output {output} USD per million tokens from {begin or 'now'} on"
    print_json(stored) if as_json else print(told)


@app.command()
def retire(
    name: NameArgument,
    successor: Annotated[str | None, typer.Option(metavar="MODEL", help="What to take instead.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339; now without it.")] = None,
    reason: ReasonOption = None,
    home: HomeOption = HOME,
    as_json: JsonOption = False,
) -> None:
    """Let no new engine name a model; engines that name it already are counted."""
    with open_client(home, as_admin=True) as client:
        stored = client.delete(_path(name), successor=successor, at=at, reason=reason)
    told = f"{name}: {_remark(stored)}; named by {stored['used_by']} engines"
    print_json(stored) if as_json else print(told)


@app.command()
def refresh(home: HomeOption = HOME, as_json: JsonOption = False) -> None:
    """Take over the provider's own list: new names as payg without a price, limits, and what is gone.

    Undecided ones are new and can not be named by engines until `set NAME --text`: their provider does not say what
    they do.
    """
    with open_client(home, as_admin=True) as client:
        found = client.post(f"{PATH}/refresh", None)
    if as_json:
        print_json(found)
        return
    for what in ("added", "undecided", "changed", "unlisted", "listed_again"):
        print(f"{what.replace('_', ' ')}: {', '.join(found[what]) or 'none'}")
