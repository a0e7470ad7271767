"""Warnings of a definition that can be used, and will be otherwise than it says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from shared.ids import new_id

ENGINE: dict[str, Any] = {
    "id": "warned",
    "name": "Warned",
    "nodes": [{"id": "text", "kind": "template", "template": "hello"}],
    "output": "text",
}


async def warnings(client: httpx.AsyncClient, **changed: Any) -> list[dict[str, Any]]:
    verdict = (await client.post("/v1/engines/validate", json={**ENGINE, **changed})).json()
    assert (verdict["valid"], verdict["errors"]) == (True, [])
    found: list[dict[str, Any]] = verdict["warnings"]
    return found


async def test_of_a_limit_above_the_most_of_the_settings(ada: httpx.AsyncClient) -> None:
    found = await warnings(ada, limits={"seconds": 99_999_999, "nodes": 10})
    detail = "is 99,999,999, and 21,600 is the most here: that is what holds"
    assert found == [{"field": "limits.seconds", "detail": detail, "node": None}]


async def test_of_a_model_that_retires_within_a_month_with_date_and_successor(
    ada: httpx.AsyncClient, root: httpx.AsyncClient
) -> None:
    soon, later = (datetime.now(UTC) + timedelta(days=days) for days in (29, 31))
    names = {kind: f"openai/test/{kind}-{new_id()}" for kind in ("soon", "bare", "later", "next")}
    for name in names.values():
        (await root.put(f"/v1/admin/models/{name}", json={"tier": "payg"})).raise_for_status()
    for kind, at, more in (
        ("soon", soon, {"successor": names["next"]}),
        ("bare", soon, {}),
        ("later", later, {}),
    ):
        gone = await root.delete(f"/v1/admin/models/{names[kind]}", params={"at": at.isoformat(), **more})
        gone.raise_for_status()
    tasks = {kind: {"kind": "generate", "model": name, "prompt": "x"} for kind, name in names.items()}
    nodes = [
        {"id": "many", "kind": "for_each", "items": "{{ [1, 2] }}", "node": tasks["soon"]},
        {"id": "text", "after": ["many"], **tasks["later"]},
    ]
    found = await warnings(ada, nodes=nodes, fallback_model=names["bare"])
    day = f"{soon:%Y-%m-%d}"
    assert found == [
        {
            "field": "nodes.many.node.model",
            "detail": f"{names['soon']} retires on {day}; its successor is {names['next']}",
            "node": "many",
        },
        {
            "field": "fallback_model",
            "detail": f"{names['bare']} retires on {day}; no successor is named",
            "node": None,
        },
    ]
    for name in names.values():
        await root.delete(f"/v1/admin/models/{name}")
