"""Insights for users, and usage and executions of everybody with costs for superadmins."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from services.analytics.store import Store
from shared.ids import new_id
from shared.usage import Certainty, ModelUsage, Tier, Tokens
from tests.support.gateway import Database, Person
from tests.support.usage_ends import FLASH, count, end, used

COST = "0.0001050000"
"""Of `used()`: 60 input at 0.75, 40 cached at 0.075, 10 output and 5 thoughts at 3.75, 1 of a tool at 0.75."""


async def get(client: httpx.AsyncClient, path: str, **params: str) -> dict[str, Any]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_insights_are_means_over_all_runs_without_a_cost(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    me, now = person.user_id, datetime.now(UTC)
    long_ago = now - timedelta(days=20)
    await count(
        analytics,
        [
            (long_ago, end(me, used(), name="Old name", started=long_ago - timedelta(seconds=3))),
            (now, end(me, used(output=110), started=now - timedelta(seconds=5))),
            (now, end(me, outcome="stopped", started=now - timedelta(seconds=1))),
            (now, end(me, outcome="failed", engine="other", name="Other", started=now)),
        ],
    )
    answer = await uma.get("/v1/usage/insights")
    first, second = answer.json()["items"]
    assert first == {
        "engine": {"id": "e", "name": "Engine"},
        "runs": 3,
        "completed": 2,
        "stopped": 1,
        "failed": 0,
        "success_rate": 0.6667,
        "mean_tokens": 110.7,
        "mean_duration_seconds": 3.0,
        "certainty": "measured",
    }
    assert (second["engine"]["id"], second["runs"], second["success_rate"]) == ("other", 1, 0.0)
    assert "cost" not in answer.text
    day = await get(uma, "/v1/usage/insights", **{"from": (now - timedelta(days=1)).isoformat()})
    assert day["items"][0]["runs"] == 2


async def test_insights_as_csv_have_the_same_figures(
    uma: httpx.AsyncClient, person: Person, analytics: AsyncEngine
) -> None:
    now = datetime.now(UTC)
    await count(analytics, [(now, end(person.user_id, used(), name="@x", started=now))])
    answer = await uma.get("/v1/usage/insights", headers={"Accept": "text/csv"})
    (line,) = csv.DictReader(io.StringIO(answer.text))
    assert (line["engine_name"], line["runs"], line["success_rate"], line["mean_tokens"]) == (
        "'@x",
        "1",
        "1.0",
        "116.0",
    )


@pytest.mark.parametrize("params", [{"from": "x"}, {"timezone": "Mars/Olympus"}, {"to": "2026-13-01"}])
async def test_bad_parameters_of_insights_are_named(uma: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await uma.get("/v1/usage/insights", params=params)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == list(params)


@pytest.mark.parametrize("path", ["/v1/admin/usage", "/v1/admin/executions"])
async def test_costs_are_for_superadmins(
    uma: httpx.AsyncClient, anybody: httpx.AsyncClient, root: httpx.AsyncClient, path: str
) -> None:
    statuses = [(await client.get(path)).status_code for client in (anybody, uma, root)]
    assert statuses == [401, 403, 200]


async def test_costs_of_all_are_exact_decimals_in_every_grouping(
    root: httpx.AsyncClient, person: Person, ada_id: str, analytics: AsyncEngine
) -> None:
    prices, time = await Store(analytics).prices(), datetime(2026, 5, 3, 23, 50, tzinfo=UTC)
    stranger = ModelUsage(model="stranger", tier=Tier.PAYG, tokens=Tokens(output=7))
    mine = [(time, end(person.user_id, used(), stranger)), (time, end(person.user_id, used()))]
    await count(analytics, [*mine, (time, end(ada_id, used(), engine="f", name="F"))], prices)
    span = {"from": "2026-05-01", "to": "2026-06-01", "timezone": "Asia/Kathmandu"}
    sums = {}
    for group_by in ("", "user", "engine", "model", "kind"):
        found = await get(root, "/v1/admin/usage", **span, **({"group_by": group_by} if group_by else {}))
        assert found["cost"] == str(3 * Decimal(COST))
        assert (found["unpriced_tokens"], found["totals"]["total"], found["executions"]["total"]) == (
            7,
            355,
            3,
        )
        assert {item["bucket"] for item in found["items"]} == {"2026-05-04T00:00:00+05:45"}
        assert sum(Decimal(item["cost"]) for item in found["items"]) == Decimal(found["cost"])
        sums[group_by] = {item.get("user_id") or item.get("model"): item for item in found["items"]}
    assert sums["user"][person.user_id]["cost"] == str(2 * Decimal(COST))
    assert sums["user"][person.user_id]["user_name"] == "uma"
    assert (sums["model"]["stranger"]["cost"], sums["model"]["stranger"]["unpriced_tokens"]) == (
        "0.0000000000",
        7,
    )
    one = await get(root, "/v1/admin/usage", **span, user=person.user_id, bucket="all")
    assert (one["cost"], len(one["items"])) == (str(2 * Decimal(COST)), 1)
    answer = await root.get(
        "/v1/admin/usage", params={**span, "group_by": "model"}, headers={"Accept": "text/csv"}
    )
    lines = {line["model"]: line["cost"] for line in csv.DictReader(io.StringIO(answer.text))}
    assert lines == {FLASH: str(3 * Decimal(COST)), "stranger": "0.0000000000"}


@pytest.mark.parametrize("bucket", ["day", "all"])
async def test_a_call_without_tokens_makes_its_model_uncertain(
    root: httpx.AsyncClient, person: Person, analytics: AsyncEngine, bucket: str
) -> None:
    nothing = ModelUsage(model="silent", tier=Tier.PAYG, tokens=Tokens(certainty=Certainty.UNKNOWN))
    await count(analytics, [(datetime.now(UTC), end(person.user_id, used(), nothing))])
    found = await get(root, "/v1/admin/usage", group_by="model", bucket=bucket, user=person.user_id)
    items = {item["model"]: (item["tokens"]["certainty"], item["cost"]) for item in found["items"]}
    assert items["silent"] == ("unknown", "0.0000000000")
    assert items[FLASH][0] == "measured"
    assert found["totals"]["certainty"] == "unknown"


@pytest.fixture
def ada_id(database: Database) -> str:
    return database.people["ada"].user_id


@pytest.mark.parametrize(
    ("params", "field"),
    [({"user": "ada"}, "user"), ({"bucket": "week"}, "bucket"), ({"group_by": "cost"}, "group_by")],
)
async def test_bad_parameters_are_named(root: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
    answer = await root.get("/v1/admin/usage", params=params)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_executions_of_all_have_their_costs_and_are_filtered(
    root: httpx.AsyncClient, database: Database, person: Person, analytics: AsyncEngine
) -> None:
    prices, now = await Store(analytics).prices(), datetime.now(UTC)
    (ended,) = await count(analytics, [(now, end(person.user_id, used()))], prices)
    running = new_id()
    for place, (key, status) in enumerate(((ended, "completed"), (running, "running"))):
        database.execute(
            "INSERT INTO executions (id, user_id, engine_id, engine_name, engine_version, status, kind, worker,"
            " created_at, last_seq) VALUES (%s, %s, 'e', 'E', 1, %s, 'included', %s, %s, 1)",
            key, person.user_id, status, f"w-{place}", now - timedelta(seconds=9 - place),
        )  # fmt: skip
    user = {"user": person.user_id}
    found = await get(root, "/v1/admin/executions", **user)
    assert [(item["id"], item["cost"], item["unpriced_tokens"]) for item in found["items"]] == [
        (running, None, None),
        (ended, COST, 0),
    ]
    for params in (
        {"status": "completed"},
        {"worker": "w-0"},
        {"to": (now - timedelta(seconds=8.5)).isoformat()},
    ):
        only = await get(root, "/v1/admin/executions", **user, **params)
        assert [item["id"] for item in only["items"]] == [ended], params
    first = await get(root, "/v1/admin/executions", **user, limit="1")
    rest = await get(root, "/v1/admin/executions", **user, limit="1", cursor=first["next_cursor"])
    assert (rest["items"][0]["id"], rest["next_cursor"]) == (ended, None)


@pytest.mark.parametrize(
    ("zone", "moments", "expected"),
    [
        # 45 minutes off; 30 minutes off, and its clock changes by half an hour
        ("Asia/Kathmandu", ["2026-01-01T18:10Z", "2026-01-01T18:20Z"], ["2026-01-01T00:00:00+05:45", "2026-01-02T00:00:00+05:45"]),
        ("Australia/Lord_Howe", ["2026-04-04T14:50Z", "2026-04-05T13:20Z", "2026-04-05T13:40Z"], ["2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30"]),
        ("America/New_York", ["2026-11-01T03:50Z", "2026-11-01T04:10Z", "2026-11-02T05:10Z"], ["2026-10-31T00:00:00-04:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"]),
    ],
)  # fmt: skip
async def test_days_are_those_of_the_zone(
    uma: httpx.AsyncClient,
    person: Person,
    analytics: AsyncEngine,
    zone: str,
    moments: list[str],
    expected: list[str],
) -> None:
    await count(analytics, [(datetime.fromisoformat(one), end(person.user_id, used())) for one in moments])
    span = {"from": "2026-01-01", "to": "2026-12-01", "bucket": "day", "timezone": zone}
    found = await get(uma, "/v1/usage", **span)
    assert [item["bucket"] for item in found["items"]] == expected
    assert sum(item["tokens"]["total"] for item in found["items"]) == found["totals"]["total"]
