"""Warnings of a definition that can be used, and will be otherwise than it says."""

from typing import Any

import httpx

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
