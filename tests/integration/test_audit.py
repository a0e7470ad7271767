"""Who did what to whom: every act is one line that superadmins can find."""

import asyncio
import csv
import io
from typing import Any

import httpx
import psycopg

from services.gateway.refused_log_ins import AT_ONCE, EVERY_SECONDS, RefusedLogIns
from shared.ids import new_id
from tests.support.gateway import SECONDS, Database, Gateway
from tests.support.identity import PASSWORD, add_member, logged_in
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


async def test_sessions_and_own_passwords_are_acts_without_what_was_typed(
    gateway: Gateway, root: httpx.AsyncClient, database: Database
) -> None:
    member, typed = add_member(database), f"typed {new_id()}"
    async with gateway.client() as client:
        for email in (member.email, typed):
            refused = await client.post("/v1/session", json={"email": email, "password": typed})
            assert refused.status_code == 401
    async with logged_in(gateway, member) as here, logged_in(gateway, member) as there:
        change = {"current_password": PASSWORD, "new_password": f"{typed} {PASSWORD}"}
        assert (await here.put("/v1/me/password", json=change)).status_code == 204
        assert (await here.delete("/v1/session")).status_code == 204
        assert (await there.delete("/v1/session")).status_code == 401, "the change has ended it"
    own = [(act["action"], act["details"]) for act in await acts(root, actor=member.user_id)]
    assert own == [
        ("sessions.end", {}),
        ("users.password", {"sessions_ended": 1}),
        ("sessions.begin", {}),
        ("sessions.begin", {}),
    ]
    (guess,) = await acts(root, target=member.user_id, action="sessions.refuse")
    assert (guess["actor"], guess["details"]) == ("unknown", {})
    (other, *_) = await acts(root, target="unknown", action="sessions.refuse")
    assert other["at"] > guess["at"]
    with psycopg.connect(database.server.url) as connection:
        stored = connection.execute("select count(*) from audit where audit::text ~ %s", [typed]).fetchone()
    assert stored == (0,)


async def test_who_logs_out_everywhere_is_in_the_audit(
    gateway: Gateway, root: httpx.AsyncClient, database: Database
) -> None:
    member = add_member(database)
    async with logged_in(gateway, member) as client:
        assert (await client.post("/v1/session/everywhere")).json() == {"ended": 1}
    (act,) = await acts(root, actor=member.user_id, action="sessions.end_all")
    assert (act["target"], act["details"]) == (member.user_id, {"sessions_ended": 1})


async def test_failed_log_ins_fill_no_database(
    gateway: Gateway, root: httpx.AsyncClient, database: Database
) -> None:
    now = 0.0
    refused = RefusedLogIns(gateway.parts.db, clock=lambda: now)
    member = add_member(database)
    for _ in range(AT_ONCE + 5):
        await refused.note(member.user_id)
    now = EVERY_SECONDS
    await refused.note(member.user_id)
    found = await acts(root, target=member.user_id, limit=1000)
    assert len(found) == AT_ONCE + 1
    assert found[0]["details"] == {"not_listed_before": 5}


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
