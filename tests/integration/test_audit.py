"""Who did what to whom: every act is one line that superadmins can find."""

import asyncio
import csv
import io
from typing import Any

import httpx

from shared.ids import new_id
from tests.support.gateway import SECONDS, Database
from tests.support.routes import ENGINE

TOPIC = {"engine": "book", "input": {"topic": "Bees"}}


async def acts(root: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await root.get("/v1/admin/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def projected(root: httpx.AsyncClient, target: str) -> list[dict[str, Any]]:
    """Waits for the first act upon an execution: it comes with the lists, after the answer."""
    async with asyncio.timeout(SECONDS):
        while not (found := await acts(root, target=target)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    return found


async def test_a_stop_of_somebody_else_s_execution_is_an_act_and_one_of_one_s_own_is_not(
    ada: httpx.AsyncClient, root: httpx.AsyncClient, database: Database
) -> None:
    own = (await ada.post("/v1/executions", json=TOPIC)).json()["id"]
    assert (await ada.post(f"/v1/executions/{own}/stop")).status_code == 202
    other = (await ada.post("/v1/executions", json=TOPIC)).json()["id"]
    forced = await root.post(f"/v1/admin/executions/{other}/force-stop", json={"reason": "runs away"})
    assert forced.json()["status"] == "stopped"
    (act,) = await projected(root, other)
    assert (act["actor"], act["action"], act["reason"]) == (
        database.people["root"].user_id, "executions.force_stop", "runs away",
    )  # fmt: skip
    assert act["details"]["user_id"] == database.people["ada"].user_id
    assert await acts(root, target=own) == [], "the later event was there already"


async def test_sharing_and_publishing_of_what_is_shared_are_acts(
    ada: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    engine = f"shared-{new_id()}"
    for number in range(2):
        (await ada.put(f"/v1/engines/{engine}", json={**ENGINE, "name": f"Of {number}"})).raise_for_status()
    for visibility in ("everyone", "everyone"):
        body = {"visibility": visibility}
        (await ada.put(f"/v1/engines/{engine}/sharing", json=body)).raise_for_status()
    (await ada.put(f"/v1/engines/{engine}", json={**ENGINE, "name": "Another"})).raise_for_status()
    (await ada.put(f"/v1/engines/{engine}/sharing", json={"visibility": "private"})).raise_for_status()
    found = [(act["action"], act["details"]) for act in await acts(root, target=engine)]
    assert found == [("engines.unshare", {}), ("engines.publish", {"version": 3}), ("engines.share", {})]


async def test_acts_are_found_by_who_what_and_when_in_pages_and_as_csv(
    root: httpx.AsyncClient, database: Database
) -> None:
    names = [f"m-{new_id()}" for _ in range(3)]
    for name in names:
        (
            await root.put(f"/v1/admin/models/{name}", json={"tier": "payg", "reason": "=new"})
        ).raise_for_status()
    query = {"actor": database.people["root"].user_id, "action": "models."}
    page = (await root.get("/v1/admin/audit", params={**query, "limit": 2})).json()
    rest = (
        await root.get("/v1/admin/audit", params={**query, "limit": 1, "cursor": page["next_cursor"]})
    ).json()
    found = page["items"] + rest["items"]
    assert [act["target"] for act in found] == names[::-1]
    assert await acts(root, action="models.put", target=names[1], to=found[1]["at"]) == []
    assert len(await acts(root, action="models.put", **{"from": found[1]["at"]})) == 2
    text = (await root.get("/v1/admin/audit", params=query, headers={"Accept": "text/csv"})).text
    first = next(csv.DictReader(io.StringIO(text)))
    assert (first["target"], first["reason"]) == (names[2], "'=new"), "no spreadsheet runs it"
