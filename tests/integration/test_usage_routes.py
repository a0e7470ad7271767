"""Usage over HTTP: sums of the ledger, in the caller's zone, and how fresh they are."""

import asyncio
import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.nats_server import NatsServer
from deploy.local.postgres import PostgresServer
from shared import topology
from shared.ids import new_id
from shared.log import ExecutionLog
from shared.nats import connect
from shared.subjects import ANALYTICS_CONSUMER, EXECUTIONS
from shared.usage import Certainty, Kind, ModelUsage, Tier, Tokens
from tests.support.gateway import Gateway, Person, running_database, running_gateway
from tests.support.usage_ends import FLASH, PRO, count, end, used
from tests.support.waiting import until


async def get(client: httpx.AsyncClient, **params: str) -> dict[str, Any]:
    answer = await client.get("/v1/usage", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def test_without_anything_everything_is_zero(uma: httpx.AsyncClient) -> None:
    found = await get(uma)
    zero = {
        "input": 0,
        "cached": 0,
        "output": 0,
        "thoughts": 0,
        "tool": 0,
        "total": 0,
        "certainty": "measured",
    }
    assert (found["items"], found["totals"], found["timezone"]) == ([], zero, "UTC")
    assert found["executions"] == {"completed": 0, "stopped": 0, "failed": 0, "total": 0}
    recent = (await uma.get("/v1/usage/executions")).json()
    assert (recent["items"], recent["next_cursor"]) == ([], None)
    assert recent.keys() >= {"as_of", "lag_seconds"}


async def test_the_last_day_by_hour_is_the_default(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    now = datetime.now(UTC)
    await count(
        analytics,
        [(now, end(person.user_id, used())), (now - timedelta(hours=25), end(person.user_id, used()))],
    )
    (item,) = (await get(uma))["items"]
    assert at(item["bucket"]) == now.replace(minute=0, second=0, microsecond=0)
    assert item["tokens"]["total"] == 116


async def test_groups_add_up_to_the_same_totals(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    me, now = person.user_id, datetime.now(UTC)
    await count(
        analytics,
        [
            (now, end(me, used(), used(PRO))),
            (now, end(me, used(certainty=Certainty.ESTIMATED), outcome="stopped")),
            (now, end(me, used(), outcome="failed", engine="other", name="=Other")),
            (now, end(me, engine="words", name="Words")),
        ],
    )
    totals = {
        "input": 400,
        "cached": 160,
        "output": 40,
        "thoughts": 20,
        "tool": 4,
        "total": 464,
        "certainty": "estimated",
    }
    answers = [
        await get(uma, **({"group_by": name} if name else {})) for name in ("", "engine", "model", "kind")
    ]
    for answer in answers:
        assert answer["totals"] == totals
        assert answer["executions"] == {"completed": 2, "stopped": 1, "failed": 1, "total": 4}
        assert sum(item["tokens"]["total"] for item in answer["items"]) == 464
    plain, engines, models, kinds = (answer["items"] for answer in answers)
    assert plain[0]["executions"]["total"] == 4
    assert {
        i["engine_id"]: (i["engine_name"], i["tokens"]["total"], i["tokens"]["certainty"]) for i in engines
    } == {
        "e": ("Engine", 348, "estimated"),
        "other": ("=Other", 116, "measured"),
        "words": ("Words", 0, "measured"),
    }
    assert {i["model"]: (i["tokens"]["total"], i["tokens"]["certainty"]) for i in models} == {
        FLASH: (348, "estimated"),
        PRO: (116, "measured"),
    }
    assert {i["kind"]: i["tokens"]["total"] for i in kinds} == {"included": 348, "payg": 116}
    assert "executions" not in models[0]


async def test_a_call_of_which_nothing_is_known_makes_the_sum_unknown(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    nothing = ModelUsage(model=FLASH, tier=Tier.INCLUDED, tokens=Tokens(certainty=Certainty.UNKNOWN))
    await count(analytics, [(datetime.now(UTC), end(person.user_id, used(), nothing, outcome="failed"))])
    found = await get(uma, group_by="engine")
    assert found["totals"]["certainty"] == found["items"][0]["tokens"]["certainty"] == "unknown"


@pytest.mark.parametrize("group_by", ["model", "kind"])
async def test_items_are_as_certain_as_the_calls_of_their_model(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine, group_by: str
) -> None:
    """Also of calls without a token, which have no row in the rollups: items and totals agree, in CSV too."""
    now = datetime.now(UTC)
    nothing = ModelUsage(model=FLASH, tier=Tier.INCLUDED, tokens=Tokens(certainty=Certainty.UNKNOWN))
    little = replace(nothing, tokens=Tokens(certainty=Certainty.ESTIMATED), model="other")
    await count(analytics, [(now, end(person.user_id, used(), used(PRO), nothing, outcome="failed"))])
    await count(analytics, [(now - timedelta(days=2), end(person.user_id, little, nothing))])
    found = await get(uma, group_by=group_by, bucket="day", **{"from": (now - timedelta(days=3)).isoformat()})
    certain = {(i[group_by], i["tokens"]["total"]): i["tokens"]["certainty"] for i in found["items"]}
    assert found["totals"]["certainty"] == "unknown"
    if group_by == "model":
        assert certain == {
            ("other", 0): "estimated",
            (FLASH, 0): "unknown",
            (FLASH, 116): "unknown",
            (PRO, 116): "measured",
        }
    else:
        assert certain == {
            ("included", 0): "unknown",
            ("included", 116): "unknown",
            ("payg", 116): "measured",
        }
    answer = await uma.get("/v1/usage", params={"group_by": group_by}, headers={"Accept": "text/csv"})
    lines = {line[group_by]: line["certainty"] for line in csv.DictReader(io.StringIO(answer.text))}
    assert sorted(lines.values()) == ["measured", "unknown"]


async def test_csv_has_the_same_figures(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    await count(analytics, [(datetime.now(UTC), end(person.user_id, used(), name="=1+1"))])
    answer = await uma.get("/v1/usage", params={"group_by": "engine"}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    (line,) = csv.DictReader(io.StringIO(answer.text))
    (item,) = (await get(uma, group_by="engine"))["items"]
    assert (line["bucket"], line["engine_id"], line["total"], line["completed"]) == (
        item["bucket"],
        "e",
        "116",
        "1",
    )
    assert line["engine_name"] == "'=1+1"


async def test_days_are_those_of_the_zone_also_when_its_clock_changes(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    me = person.user_id
    times = ["2026-03-28T22:50Z", "2026-03-28T23:10Z", "2026-03-29T21:50Z", "2026-03-29T22:10Z"]
    await count(analytics, [(at(time), end(me, used())) for time in times])
    found = await get(
        uma, **{"from": "2026-03-28", "to": "2026-04-01", "bucket": "day", "timezone": "Europe/Vienna"}
    )
    assert (found["from"], found["to"]) == ("2026-03-27T23:00:00.000000Z", "2026-03-31T22:00:00.000000Z")
    assert [(item["bucket"], item["tokens"]["total"]) for item in found["items"]] == [
        ("2026-03-28T00:00:00+01:00", 116),
        ("2026-03-29T00:00:00+01:00", 232),
        ("2026-03-30T00:00:00+02:00", 116),
    ]


async def test_hours_of_a_half_hour_zone_and_the_hour_that_comes_twice(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    me = person.user_id
    times = ["2026-10-25T00:20Z", "2026-10-25T01:20Z", "2026-10-25T01:40Z"]
    await count(analytics, [(at(time), end(me, used())) for time in times])
    span = {"from": "2026-10-25T00:00:00+00:00", "to": "2026-10-25T02:00:00Z"}
    india = await get(uma, **span, timezone="Asia/Kolkata")
    assert [item["bucket"] for item in india["items"]] == [
        "2026-10-25T05:00:00+05:30",
        "2026-10-25T06:00:00+05:30",
        "2026-10-25T07:00:00+05:30",
    ]
    vienna = await get(uma, **span, timezone="Europe/Vienna")
    assert [(item["bucket"], item["tokens"]["total"]) for item in vienna["items"]] == [
        ("2026-10-25T02:00:00+02:00", 116),
        ("2026-10-25T02:00:00+01:00", 232),
    ]


@pytest.mark.parametrize(
    ("bucket", "begin"),
    [("day", "2026-03-08T18:15:00.000000Z"), ("hour", "2026-03-09T16:15:00.000000Z")],
)
async def test_the_first_bucket_of_the_default_period_is_whole(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine, bucket: str, begin: str
) -> None:
    found = await get(uma, bucket=bucket, timezone="Asia/Kathmandu", to="2026-03-10T22:30:00")
    assert (found["from"], found["to"]) == (begin, "2026-03-10T16:45:00.000000Z")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01T00:00:00Z"}, "to"),
        ({"to": "0001-01-01T00:00:00+23:00"}, "to"),
        ({"from": "9999-12-31"}, "from"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
        ({"from": "2025-01-01", "to": "2026-06-01"}, "from"),
        ({"bucket": "week"}, "bucket"),
        ({"group_by": "user"}, "group_by"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "UTC'; --"}, "timezone"),
        ({"timezone": ""}, "timezone"),
    ],
)
async def test_bad_parameters_are_named(uma: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    answer = await uma.get("/v1/usage", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("limit", ["0", "7", "-5", "1000", "many"])
async def test_only_some_limits_are_offered(uma: httpx.AsyncClient, limit: str) -> None:
    answer = await uma.get("/v1/usage/executions", params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "limit"


async def test_recent_executions_come_from_the_ledger_newest_first(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    me, now = person.user_id, datetime.now(UTC)
    ends = [(now + timedelta(seconds=n), end(me, used(), used(PRO), outcome="stopped")) for n in range(6)]
    ids = await count(analytics, [*ends, (now - timedelta(hours=1), end(me))])
    items = (await uma.get("/v1/usage/executions", params={"limit": 5})).json()["items"]
    assert [item["id"] for item in items] == ids[5:0:-1]
    first = items[0]
    assert (first["status"], first["kind"], first["engine"]) == (
        "stopped",
        "mixed",
        {"id": "e", "name": "Engine"},
    )
    assert (first["tokens"]["total"], first["models"]) == (232, [FLASH, PRO])
    assert 4 < first["duration_seconds"] < 6
    last = (await uma.get("/v1/usage/executions", params={"limit": 10})).json()["items"][-1]
    assert (last["id"], last["kind"], last["tokens"]["total"], last["models"]) == (ids[6], Kind.NONE, 0, [])


async def test_recent_executions_are_csv_too(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    (only,) = await count(analytics, [(datetime.now(UTC), end(person.user_id, used(), used(PRO)))])
    answer = await uma.get("/v1/usage/executions", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["id"], line["engine_name"], line["status"]) == (only, "Engine", "completed")
    assert (line["total"], line["models"]) == ("232", f"{FLASH} {PRO}")
    assert not [name for name in line if "cost" in name or "price" in name]


async def test_nobody_sees_what_others_used_nor_any_cost(
    uma: httpx.AsyncClient, ben: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    (mine,) = await count(analytics, [(datetime.now(UTC), end(person.user_id, used()))])
    assert (await get(ben))["totals"]["total"] == 0
    for path in ("/v1/usage?group_by=model", "/v1/usage/executions"):
        own = (await uma.get(path)).text
        assert "cost" not in own
        assert "price" not in own
        assert mine not in (await ben.get(path)).text


async def test_nothing_without_a_key(anybody: httpx.AsyncClient) -> None:
    assert (await anybody.get("/v1/usage")).status_code == 401
    assert (await anybody.get("/v1/usage/executions")).status_code == 401


async def test_the_lag_is_the_age_of_the_oldest_end_that_is_not_counted(
    gateway: Gateway, uma: httpx.AsyncClient, person: Person
) -> None:
    await ExecutionLog(gateway.parts.nc).append(new_id(), end(person.user_id, used()), 0)

    async def behind() -> bool:
        found = await get(uma)
        return found["lag_seconds"] > 0 and at(found["as_of"]) < datetime.now(UTC)

    await until(behind)
    subscription = await gateway.parts.js.pull_subscribe_bind(ANALYTICS_CONSUMER, EXECUTIONS)
    info = await gateway.parts.js.consumer_info(EXECUTIONS, ANALYTICS_CONSUMER)
    for msg in await subscription.fetch(info.num_pending or 1):
        await msg.ack_sync()
    await subscription.unsubscribe()

    async def level() -> bool:
        return bool((await get(uma))["lag_seconds"] == 0)

    await until(level)


async def test_the_document_describes_both_answers(anybody: httpx.AsyncClient) -> None:
    paths = (await anybody.get("/openapi.json")).json()["paths"]
    content = paths["/v1/usage"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "text/csv"}
    assert {p["name"] for p in paths["/v1/usage"]["get"]["parameters"]} >= {
        "from",
        "to",
        "bucket",
        "group_by",
        "timezone",
    }
    limit = next(p for p in paths["/v1/usage/executions"]["get"]["parameters"] if p["name"] == "limit")
    assert limit["schema"]["enum"] == [5, 10, 50, 100]


@pytest.mark.fault
async def test_while_the_database_is_away_it_says_so(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    try:
        server.start()
        nc = await connect(server.url, "test")
        await topology.ensure(nc, topology.TopologySettings.model_validate({"NATS_URL": server.url}))
        await nc.close()
        with running_database(tmp_path / "postgres") as database:
            async with (
                running_gateway(server, database) as running,
                running.client(database.people["ada"]) as client,
            ):
                await _told_of_outages(client, database.server, server)
    finally:
        server.stop()


async def _told_of_outages(client: httpx.AsyncClient, postgres: PostgresServer, server: NatsServer) -> None:
    assert (await client.get("/v1/usage")).status_code == 200
    await asyncio.to_thread(postgres.stop)
    for path in ("/v1/usage", "/v1/usage/executions"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    await asyncio.to_thread(postgres.start)
    await until(lambda: _answers(client))
    await asyncio.to_thread(server.kill)
    await until(lambda: _lag_is_known(client, so=False))
    await asyncio.to_thread(server.start)
    await until(lambda: _lag_is_known(client, so=True))


async def _lag_is_known(client: httpx.AsyncClient, *, so: bool) -> bool:
    found = await get(client)
    assert found["as_of"] is not None
    return (found["lag_seconds"] is not None) is so


async def _answers(client: httpx.AsyncClient) -> bool:
    return (await client.get("/v1/usage")).status_code == 200
