"""Engines over HTTP before and after they are published: drafts, versions, sharing, and who came first."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
import pytest

from services.gateway import engine_list
from services.gateway.engine_list import Listed, ListedDraft, Page
from services.gateway.engine_publishing import IfMatch
from services.gateway.engine_store import Published
from shared.ids import new_id
from tests.support.gateway import Database, Gateway

MODEL = "gemini-3.8-flash"


def engine(name: str = "One", model: str = MODEL) -> dict[str, Any]:
    node = {"id": "text", "kind": "generate", "model": model, "prompt": name}
    return {"name": name, "nodes": [node], "output": "text"}


@pytest.fixture
async def path(ada: httpx.AsyncClient, ben: httpx.AsyncClient) -> AsyncIterator[str]:
    """Of an engine of this test alone."""
    mine = f"/v1/engines/{new_id()}"
    yield mine
    for client in (ada, ben):
        await client.delete(mine)
        await client.delete(f"{mine}/draft")


async def names(client: httpx.AsyncClient, path: str) -> list[tuple[int, str, bool]]:
    items = (await client.get(f"{path}/versions")).json()["items"]
    return [(item["version"], item["name"], item["current"]) for item in items]


async def test_every_change_makes_a_version_that_stays(
    ada: httpx.AsyncClient, database: Database, path: str
) -> None:
    for name in ("One", "Two", "Two", "Three"):
        stored = await ada.put(path, json=engine(name))
        assert stored.is_success, stored.text
    assert await names(ada, path) == [(3, "Three", True), (2, "Two", False), (1, "One", False)]
    first = await ada.get(f"{path}/versions/1")
    assert (first.json()["name"], first.json()["version"], first.headers["ETag"][:3]) == ("One", 1, '"1-')
    item = (await ada.get(f"{path}/versions", params={"limit": 1})).json()
    assert (item["items"][0]["created_by"], item["next_cursor"]) == (database.people["ada"].user_id, "3")
    older = (await ada.get(f"{path}/versions", params={"limit": 2, "cursor": "3"})).json()
    assert ([one["version"] for one in older["items"]], older["next_cursor"]) == ([2, 1], None)
    missing = await ada.get(f"{path}/versions/9")
    assert (missing.status_code, missing.json()["code"]) == (404, "version_not_found")
    assert (await ada.get(f"{path}/versions/0")).status_code == 422


async def test_an_old_version_is_restored_as_the_newest(ada: httpx.AsyncClient, path: str) -> None:
    await ada.put(path, json=engine("One"))
    await ada.put(path, json=engine("Two"))
    restored = await ada.post(f"{path}/restore", json={"version": 1})
    assert (restored.status_code, restored.json()["version"], restored.json()["name"]) == (200, 3, "One")
    assert (await ada.get(path)).json() == restored.json()
    again = await ada.post(f"{path}/restore", json={"version": 3})
    assert again.json() == restored.json()
    for body, status in (
        ({"version": 9}, 404),
        ({"version": "1"}, 422),
        ({}, 422),
        ({"version": 10**12}, 404),
    ):
        assert (await ada.post(f"{path}/restore", json=body)).status_code == status


async def test_versions_of_a_deleted_engine_are_gone(ada: httpx.AsyncClient, path: str) -> None:
    await ada.put(path, json=engine("One"))
    await ada.put(path, json=engine("Two"))
    assert (await ada.delete(path)).status_code == 204
    assert (await ada.get(f"{path}/versions")).status_code == 404
    assert (await ada.put(path, json=engine("New"))).json()["version"] == 1
    assert await names(ada, path) == [(1, "New", True)]


async def test_a_draft_may_be_anything_until_it_is_published(ada: httpx.AsyncClient, path: str) -> None:
    draft = await ada.put(f"{path}/draft", json={"nodes": [{"half": "done"}]})
    assert (draft.status_code, draft.json()["version"]) == (200, None)
    assert draft.json()["definition"] == {"nodes": [{"half": "done"}], "id": path.rpartition("/")[2]}
    assert (await ada.get(path)).status_code == 404
    refused = await ada.post(f"{path}/publish")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_definition")
    assert (await ada.get(f"{path}/draft")).json() == draft.json()
    await ada.put(f"{path}/draft", json=engine("Done"))
    published = await ada.post(f"{path}/publish")
    assert (published.status_code, published.json()["version"]) == (201, 1)
    gone = await ada.get(f"{path}/draft")
    assert (gone.status_code, gone.json()["code"]) == (404, "draft_not_found")
    assert (await ada.post(f"{path}/publish")).status_code == 404


async def test_a_draft_stands_beside_what_runs_and_its_author_alone_sees_it(
    ada: httpx.AsyncClient, ben: httpx.AsyncClient, gateway: Gateway, database: Database, path: str
) -> None:
    engine_id = path.rpartition("/")[2]
    await ada.put(path, json=engine("One"))
    await ada.put(f"{path}/sharing", json={"visibility": "everyone"})
    await ada.put(f"{path}/draft", json=engine("Secret"))
    for user in ("ada", "ben"):
        running = await gateway.parts.catalogue.engine(database.people[user].user_id, engine_id)
        assert running is not None
        assert running.definition.name == "One"
    assert "Secret" not in (await ben.get("/v1/engines")).text
    assert (await ben.get(f"{path}/draft")).status_code == 404
    assert (await ben.post(f"{path}/publish")).status_code == 404
    (listed,) = [each for each in (await ada.get("/v1/engines")).json()["drafts"] if each["id"] == engine_id]
    assert (listed["name"], listed["version"]) == ("Secret", 1)
    assert (await ada.delete(f"{path}/draft")).status_code == 204
    assert (await ada.delete(f"{path}/draft")).status_code == 404


async def test_a_draft_has_the_id_of_its_address(ada: httpx.AsyncClient, path: str) -> None:
    assert (await ada.put(f"{path}/draft", json={"id": "other"})).status_code == 422
    assert (await ada.put("/v1/engines/UPPER/draft", json={})).json()["errors"][0]["field"] == "id"


async def test_who_read_an_older_version_overwrites_nothing(ada: httpx.AsyncClient, path: str) -> None:
    none = await ada.put(path, json=engine("One"), headers={"If-Match": '"1-0"'})
    assert (none.status_code, none.json()["code"]) == (412, "version_changed")
    tag = (await ada.put(path, json=engine("One"))).headers["ETag"]
    newest = (await ada.put(path, json=engine("Two"), headers={"If-Match": tag})).headers["ETag"]
    assert newest == (await ada.get(path)).headers["ETag"] != tag
    late = await ada.put(path, json=engine("Late"), headers={"If-Match": tag})
    assert (late.status_code, "version 2" in late.json()["detail"]) == (412, True)
    await ada.put(f"{path}/draft", json=engine("Draft"))
    assert (await ada.post(f"{path}/publish", headers={"If-Match": tag})).status_code == 412
    assert (await ada.get(f"{path}/draft")).status_code == 200
    assert (
        await ada.post(f"{path}/restore", json={"version": 1}, headers={"If-Match": tag})
    ).status_code == 412
    assert (await ada.post(f"{path}/publish", headers={"If-Match": newest})).json()["version"] == 3


async def test_who_read_an_engine_that_was_made_anew_since_overwrites_nothing(
    ada: httpx.AsyncClient, path: str
) -> None:
    tag = (await ada.put(path, json=engine("One"))).headers["ETag"]
    await ada.delete(path)
    anew = await ada.put(path, json=engine("Another"))
    assert (anew.json()["version"], anew.headers["ETag"] != tag) == (1, True)
    late = await ada.put(path, json=engine("Late"), headers={"If-Match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "version_changed")
    assert (await ada.get(path)).json()["name"] == "Another"


async def test_of_many_with_the_same_condition_one_wins(ada: httpx.AsyncClient, path: str) -> None:
    tag = (await ada.put(path, json=engine("One"))).headers["ETag"]
    answers = await asyncio.gather(
        *(ada.put(path, json=engine(f"Name {n}"), headers={"If-Match": tag}) for n in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert len(await names(ada, path)) == 2


async def test_what_is_shared_is_seen_run_and_copied_and_never_changed(
    ada: httpx.AsyncClient, ben: httpx.AsyncClient, gateway: Gateway, database: Database, path: str
) -> None:
    engine_id = path.rpartition("/")[2]
    await ada.put(path, json=engine("Ada's"))
    assert (await ben.get(path)).status_code == 404
    shared = await ada.put(f"{path}/sharing", json={"visibility": "everyone"})
    assert (shared.status_code, shared.json()["shared"], shared.json()["version"]) == (200, True, 1)
    seen = await ben.get(path)
    assert (seen.json()["name"], seen.json()["owner"]) == ("Ada's", database.people["ada"].user_id)
    started = await ben.post("/v1/executions", json={"engine": engine_id, "input": {}})
    assert (started.status_code, started.json()["engine"]["version"]) == (202, 1)
    await ben.post(f"/v1/executions/{started.json()['id']}/stop", json={})
    for call in (
        ben.delete(path),
        ben.get(f"{path}/versions"),
        ben.get(f"{path}/versions/1"),
        ben.post(f"{path}/restore", json={"version": 1}),
        ben.put(f"{path}/sharing", json={"visibility": "private"}),
    ):
        refused = await call
        assert (refused.status_code, refused.json()["code"]) == (403, "not_your_engine")
    copy = await ben.put(path, json=seen.json())
    assert (copy.status_code, copy.json()["owner"]) == (201, database.people["ben"].user_id)
    assert copy.json()["shared"] is False
    taken = await ben.put(f"{path}/sharing", json={"visibility": "everyone"})
    assert (taken.status_code, taken.json()["code"]) == (409, "shared_id_taken")
    await ada.put(path, json=engine("Ada's second"))
    assert (await ada.get(path)).json()["shared"] is True
    assert (await ben.get(path)).json()["name"] == "Ada's"
    await ada.put(f"{path}/sharing", json={"visibility": "private"})
    await ben.delete(path)
    assert (await ben.get(path)).status_code == 404
    assert (await ada.put(f"{path}/sharing", json={"visibility": "all"})).status_code == 422


async def test_an_execution_keeps_the_version_that_it_started_with(ada: httpx.AsyncClient, path: str) -> None:
    engine_id = path.rpartition("/")[2]
    await ada.put(path, json=engine("One"))
    first = (await ada.post("/v1/executions", json={"engine": engine_id, "input": {}})).json()
    await ada.put(path, json=engine("Two"))
    second = (await ada.post("/v1/executions", json={"engine": engine_id, "input": {}})).json()
    await ada.delete(path)
    for started, version, name in ((first, 1, "One"), (second, 2, "Two")):
        kept = (await ada.get(f"/v1/executions/{started['id']}")).json()["engine"]
        assert kept == {"id": engine_id, "name": name, "version": version}
        await ada.post(f"/v1/executions/{started['id']}/stop", json={})


async def test_a_restored_version_is_checked_against_todays_models(
    ada: httpx.AsyncClient, root: httpx.AsyncClient, path: str, database: Database
) -> None:
    model = f"openai/test/{new_id()}"
    await root.put(f"/v1/admin/models/{model}", json={"tier": "payg"})
    await ada.put(path, json=engine("One", model))
    await ada.put(path, json=engine("Two"))
    await root.delete(f"/v1/admin/models/{model}", params={"successor": MODEL})
    refused = await ada.post(f"{path}/restore", json={"version": 1})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "nodes.text.model")
    assert MODEL in refused.json()["errors"][0]["detail"]
    database.execute("DELETE FROM models WHERE name = %s", model)


@pytest.mark.parametrize(
    ("header", "version", "fits"),
    [
        ('"3-f"', 3, True), ('W/"3-f"', 3, True), ('"1-f", "3-f"', 3, True), ("*", 3, True), (" * ", 1, True),
        ('"2-f"', 3, False), ('"3-e"', 3, False), ("3-f", 3, False), ('"3"', 3, False), ('"x"', 3, False), ("", 3, False),
        ('"3-f"', None, False), ("*", None, False),
    ],
)  # fmt: skip
def test_entity_tags(header: str, version: int | None, fits: bool) -> None:
    condition = IfMatch.of(header)
    assert condition is not None
    created = datetime(1970, 1, 1, 0, 0, 0, 15, UTC)
    assert condition.fits(None if version is None else Published(version, created)) is fits


async def test_a_draft_is_no_larger_than_a_definition(ada: httpx.AsyncClient, path: str) -> None:
    refused = await ada.put(f"{path}/draft", json={"notes": "x" * 256 * 1024})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "definition")
    assert "256 KiB" in refused.json()["errors"][0]["detail"]
    assert (await ada.get(f"{path}/draft")).status_code == 404


async def test_the_list_comes_in_pages_with_every_engine_and_draft_once(
    ada: httpx.AsyncClient, path: str
) -> None:
    mine = [f"{path}-{n}" for n in range(4)]
    for number, each in enumerate(mine):
        await ada.put(f"{each}/draft" if number % 2 else each, json=engine(f"Name {number}"))
    await ada.put(f"{mine[0]}/draft", json={"name": 7})
    found: dict[str, list[str]] = {"items": [], "drafts": []}
    cursor: str | None = ""
    while cursor is not None:
        page = (await ada.get("/v1/engines", params={"limit": 2, "cursor": cursor})).json()
        assert 1 <= len({one["id"] for kind in found for one in page[kind]}) <= 2
        for kind, ids in found.items():
            ids += [one["id"] for one in page[kind]]
        cursor = page["next_cursor"]
    whole = (await ada.get("/v1/engines")).json()
    assert whole["next_cursor"] is None
    assert found == {kind: [one["id"] for one in whole[kind]] for kind in found}
    names = {one["id"]: one["name"] for one in whole["drafts"]}
    assert [names.get(each.rpartition("/")[2], "-") for each in mine] == [None, "Name 1", "-", "Name 3"]
    assert (await ada.get("/v1/engines", params={"cursor": "A"})).status_code == 422
    for each in mine:
        await ada.delete(each)
        await ada.delete(f"{each}/draft")


def test_a_page_is_cut_where_the_inputs_become_too_many() -> None:
    moment = datetime(2026, 5, 4, tzinfo=UTC)

    def listed(name: str, characters: int) -> Listed:
        return Listed(
            owner_id="o", id=name, name=name, description=None, version=1, shared=False, updated_at=moment,
            inputs="x" * characters,
        )  # fmt: skip

    engines = [listed("a", 10), listed("c", engine_list.MOST_CHARACTERS), listed("d", 1)]
    drafts = [ListedDraft(id=name, name=None, version=None, updated_at=moment) for name in "be"]

    def ids(page: Page) -> list[str]:
        return [*(one.id for one in page.engines), *(one.id for one in page.drafts)]

    first = engine_list.cut(engines, drafts, 10)
    assert (ids(first), first.next_cursor) == (["a", "b"], "b")
    second = engine_list.cut(engines[1:], drafts[1:], 10)
    assert ([one.id for one in second.engines], second.next_cursor) == (["c"], "c")
    third = engine_list.cut(engines[2:], drafts[1:], 10)
    assert (ids(third), third.next_cursor) == (["d", "e"], None)


async def test_a_superadmin_takes_a_shared_engine_back_from_everyone(
    ada: httpx.AsyncClient, ben: httpx.AsyncClient, root: httpx.AsyncClient, database: Database, path: str
) -> None:
    engine_id = path.rpartition("/")[2]
    sharing = f"/v1/admin/engines/{engine_id}/sharing"
    await ada.put(path, json=engine("Ada's"))
    assert (await root.delete(sharing)).status_code == 404
    await ada.put(f"{path}/sharing", json={"visibility": "everyone"})
    assert (await ben.get(path)).status_code == 200
    assert (await ben.delete(sharing)).status_code == 403
    done = await root.delete(sharing, params={"reason": "spam"})
    assert (done.status_code, done.json()["owners"]) == (200, [database.people["ada"].user_id])
    assert (await ben.get(path)).status_code == 404
    assert (await ada.get(path)).json()["shared"] is False
    with psycopg.connect(database.server.url) as connection:
        query = "SELECT actor, action, reason FROM audit WHERE target = %s AND action = 'engines.unshare'"
        lines = connection.execute(query, [engine_id]).fetchall()
    assert lines == [(database.people["root"].user_id, "engines.unshare", "spam")]


async def test_the_document_names_every_answer_of_the_lifecycle(anybody: httpx.AsyncClient) -> None:
    document = (await anybody.get("/openapi.json")).json()["paths"]
    base = "/v1/engines/{engine_id}"
    for path, method in (
        ("/draft", "get"), ("/draft", "put"), ("/publish", "post"), ("/versions", "get"),
        ("/versions/{number}", "get"), ("/restore", "post"), ("/sharing", "put"),
    ):  # fmt: skip
        call = document[base + path][method]
        assert "$ref" in call["responses"]["200"]["content"]["application/json"]["schema"]
        assert method == "get" or path == "/publish" or "requestBody" in call
