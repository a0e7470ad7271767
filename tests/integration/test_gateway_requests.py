"""Starting and reading executions over HTTP: what is taken, what is refused, and how it is said."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.gateway.idempotency import Fixed, digest_of
from shared import subjects
from shared.events import ExecutionPruned, ExecutionRequested
from shared.ids import new_id
from tests.support.gateway import Database, Gateway, Person, Player, add_person
from tests.support.make import usage
from tests.support.waiting import until

GOOD = {"engine": "book", "input": {"topic": "Tea"}}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["code"] == code
    assert body["status"] == status
    assert all(body[member] for member in ("type", "title", "detail"))
    return body


def fields(body: dict[str, Any]) -> set[str]:
    return {error["field"] for error in body["errors"]}


def settled(execution: dict[str, Any]) -> dict[str, Any]:
    """An execution without the estimate of its wait, which is another one from moment to moment."""
    queue = {key: value for key, value in execution["queue"].items() if key != "estimated_wait_seconds"}
    return {**execution, "queue": queue}


async def started(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/executions", json={**GOOD, **body})
    assert answer.status_code == 202, answer.text
    execution: dict[str, Any] = answer.json()
    return execution


class TestStarting:
    async def test_the_answer_is_the_execution_and_so_is_the_next_read(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.post("/v1/executions", json=GOOD)
        assert answer.status_code == 202
        execution = answer.json()
        assert answer.headers["location"] == f"/v1/executions/{execution['id']}"
        assert execution["status"] == "queued"
        assert execution["engine"] == {"id": "book", "name": "A book", "version": 1}
        assert execution["kind"] == "included"
        assert execution["input"] == {"topic": "Tea"}
        assert [node["id"] for node in execution["nodes"]] == ["outline", "parts", "text"]
        assert settled((await ada.get(answer.headers["location"])).json()) == settled(execution)

    async def test_all_that_is_needed_to_run_it_is_in_the_log(
        self, ada: httpx.AsyncClient, gateway: Gateway
    ) -> None:
        trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
        answer = await ada.post("/v1/executions", json=GOOD, headers={"traceparent": trace})
        history = await gateway.parts.log.load(answer.json()["id"])
        event = history[0].event
        assert isinstance(event, ExecutionRequested)
        assert event.trace["traceparent"].split("-")[1] == trace.split("-")[1]
        assert event.lane == subjects.NOW

    async def test_a_large_input_goes_to_the_artifacts_and_comes_back(self, ada: httpx.AsyncClient) -> None:
        execution = await started(ada, input={"topic": "🍵" * 150_000})
        assert settled((await ada.get(f"/v1/executions/{execution['id']}")).json()) == settled(execution)

    async def test_limits_are_taken_and_capped(self, ada: httpx.AsyncClient) -> None:
        execution = await started(ada, limits={"seconds": 60, "tokens": 10**12})
        assert execution["limits"]["seconds"] == 60
        assert execution["limits"]["tokens"] == 20_000_000


class TestRefusing:
    async def test_an_unknown_engine(self, ada: httpx.AsyncClient) -> None:
        for engine in ("nope", "No Such", "../x", "x" * 200):
            body = problem(
                await ada.post("/v1/executions", json={**GOOD, "engine": engine}), 404, "engine_not_found"
            )
            assert fields(body) == {"engine"}

    @pytest.mark.parametrize("given", [{}, {"topic": 5}, {"topic": None}, {"topic": ["x"]}, {"topic": " "}])
    async def test_a_wrong_input_field(self, ada: httpx.AsyncClient, given: dict[str, Any]) -> None:
        body = problem(await ada.post("/v1/executions", json={**GOOD, "input": given}), 422, "invalid_input")
        assert fields(body) == {"input.topic"}

    async def test_an_input_that_the_engine_does_not_have(self, ada: httpx.AsyncClient) -> None:
        given = {"topic": "Tea", "tpoic": "Tea"}
        body = problem(await ada.post("/v1/executions", json={**GOOD, "input": given}), 422, "invalid_input")
        assert fields(body) == {"input.tpoic"}

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"engine": None}, "engine"),
            ({"engine": 5}, "engine"),
            ({"engine": ""}, "engine"),
            ({"input": []}, "input"),
            ({"input": None}, "input"),
            ({"limits": {"seconds": -1}}, "limits.seconds"),
            ({"limits": {"seconds": 0}}, "limits.seconds"),
            ({"limits": {"seconds": True}}, "limits.seconds"),
            ({"limits": {"tokens": "5"}}, "limits.tokens"),
            ({"limits": {"tokens": 10**30}}, "limits.tokens"),
            ({"limits": {"money": 1}}, "limits.money"),
            ({"limits": 7}, "limits"),
            ({"surprise": 1}, "surprise"),
            ({"input": {"topic": "a\0b"}}, "input.topic"),
        ],
    )
    async def test_a_wrong_field(self, ada: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
        body = problem(await ada.post("/v1/executions", json={**GOOD, **change}), 422, "invalid_request")
        assert field in fields(body)

    @pytest.mark.parametrize(
        "data", [b"", b"{", b'{"engine":', b"\xff\xfe", b"NaN", b'"\\ud800"', b"[" * 5000]
    )
    async def test_what_is_not_json(self, ada: httpx.AsyncClient, data: bytes) -> None:
        problem(await ada.post("/v1/executions", content=data), 400, "invalid_json")

    @pytest.mark.parametrize(
        "data", [b"[]", b"7", b"null", b'"x"', b'{"input":' + b"[" * 500 + b"]" * 500 + b"}"]
    )
    async def test_json_that_is_no_request(self, ada: httpx.AsyncClient, data: bytes) -> None:
        problem(await ada.post("/v1/executions", content=data), 422, "invalid_request")

    async def test_a_body_over_a_mebibyte_with_and_without_a_length(self, ada: httpx.AsyncClient) -> None:
        async def pieces() -> Any:
            for _ in range(30):
                yield b"x" * 100_000

        problem(await ada.post("/v1/executions", content=b"x" * 2_000_000), 413, "body_too_large")
        problem(await ada.post("/v1/executions", content=pieces()), 413, "body_too_large")
        await started(ada)

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer x"},
            {"Authorization": "Basic abc"},
            {"Authorization": "Bearer lk_" + "a" * 43},
            {"Authorization": "Bearer lk_" + "a" * 5000},
            {"Authorization": b"Bearer lk_\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe"},
        ],
    )
    async def test_no_good_key(self, anybody: httpx.AsyncClient, headers: dict[str, Any]) -> None:
        for path in ("/v1/executions", "/v1/me", "/v1/admin/workers", f"/v1/executions/{new_id()}/events"):
            answer = await anybody.get(path, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")

    async def test_a_revoked_key_is_refused_at_once(self, gateway: Gateway, database: Database) -> None:
        person = Person(new_id(), "lk_" + "r" * 43)
        add_person(database, "rita", person)
        async with gateway.client(person) as rita:
            assert (await rita.get("/v1/me")).status_code == 200
            database.execute("update api_keys set revoked_at = now() where user_id = %s", person.user_id)
            await gateway.parts.nc.publish("changed.keys", b"")

            async def refused() -> bool:
                return (await rita.get("/v1/me")).status_code == 401

            await until(refused)

    async def test_ids_that_are_not_the_callers(self, ada: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        mine = (await started(ada))["id"]
        for execution_id in (mine, new_id(), "nope", "a.b", "*", ">", "%00", "x" * 500, mine.upper()):
            for suffix in ("", "/events", "/output"):
                problem(await ben.get(f"/v1/executions/{execution_id}{suffix}"), 404, "execution_not_found")
            problem(await ben.post(f"/v1/executions/{execution_id}/stop"), 404, "execution_not_found")

    async def test_what_is_no_call(self, ada: httpx.AsyncClient) -> None:
        problem(await ada.get("/v1/nothing"), 404, "not_found")
        answer = await ada.request("PATCH", f"/v1/executions/{new_id()}")
        problem(answer, 405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]

    async def test_admin_calls_are_for_superadmins(
        self, ada: httpx.AsyncClient, root: httpx.AsyncClient
    ) -> None:
        problem(await ada.get("/v1/admin/workers"), 403, "forbidden")
        problem(
            await ada.post(f"/v1/admin/executions/{new_id()}/force-stop", json={"reason": "x"}),
            403,
            "forbidden",
        )
        assert (await root.get("/v1/admin/workers")).status_code == 200


class TestIdempotency:
    async def test_fifty_at_once_are_one(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        headers = {"Idempotency-Key": new_id()}
        answers = await asyncio.gather(
            *(ada.post("/v1/executions", json=GOOD, headers=headers) for _ in range(50))
        )
        assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 49}
        found = {answer.json()["id"] for answer in answers}
        assert len(found) == 1
        assert len(await gateway.parts.log.load(found.pop())) == 1

    async def test_the_same_words_in_another_order_are_the_same_body(self, ada: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": f"{new_id()} / with ~ blanks"}
        first = await ada.post("/v1/executions", json=GOOD, headers=headers)
        again = await ada.post("/v1/executions", json=dict(reversed(GOOD.items())), headers=headers)
        assert (first.status_code, again.status_code) == (202, 200)
        assert again.json() == first.json()

    async def test_another_body_under_the_same_key_is_refused(self, ada: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": new_id()}
        await ada.post("/v1/executions", json=GOOD, headers=headers)
        other = await ada.post("/v1/executions", json={**GOOD, "input": {"topic": "Coffee"}}, headers=headers)
        problem(other, 422, "idempotency_key_reused")

    async def test_a_refused_request_leaves_its_key_free(self, ada: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": new_id()}
        refused = await ada.post("/v1/executions", json={**GOOD, "input": {}}, headers=headers)
        problem(refused, 422, "invalid_input")
        assert (await ada.post("/v1/executions", json=GOOD, headers=headers)).status_code == 202

    async def test_a_key_belongs_to_its_user(self, ada: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": new_id()}
        mine = await ada.post("/v1/executions", json=GOOD, headers=headers)
        his = await ben.post("/v1/executions", json=GOOD, headers=headers)
        assert (mine.status_code, his.status_code) == (202, 202)
        assert mine.json()["id"] != his.json()["id"]

    async def test_a_crash_before_the_append_is_finished_by_the_next_try(
        self, ada: httpx.AsyncClient, gateway: Gateway, database: Database
    ) -> None:
        key, execution_id = new_id(), new_id()
        fixed = Fixed(execution_id, digest_of(GOOD))
        await gateway.parts.idempotency.fix(database.people["ada"].user_id, key, fixed)
        answer = await ada.post("/v1/executions", json=GOOD, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["id"]) == (202, execution_id)

    @pytest.mark.parametrize("key", ["", "x" * 256])
    async def test_a_key_that_is_none(self, ada: httpx.AsyncClient, key: str) -> None:
        answer = await ada.post("/v1/executions", json=GOOD, headers={"Idempotency-Key": key})
        assert fields(problem(answer, 422, "invalid_request")) == {"Idempotency-Key"}


class TestReading:
    async def test_progress_is_that_of_the_log(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        execution = await started(ada)
        player = Player(gateway.parts, execution["id"])
        await player.claim()
        await player.begin("outline")
        await player.complete("outline", "Tea, twice")
        await player.begin("parts", kind="for_each", model=None, items=2)
        await player.begin("parts/0")
        seen = (await ada.get(f"/v1/executions/{execution['id']}")).json()
        assert seen["status"] == "running"
        assert seen["worker"] == "player"
        assert [(node["id"], node["status"]) for node in seen["nodes"]] == [
            ("outline", "completed"),
            ("parts", "running"),
            ("parts/0", "running"),
            ("parts/1", "pending"),
            ("text", "pending"),
        ]
        assert seen["tokens"]["total"] == 15
        assert seen["nodes"][0]["tokens"]["certainty"] == "measured"
        assert seen["nodes"][2]["tokens"]["certainty"] == "unknown"

    async def test_output_partial_and_final(self, ada: httpx.AsyncClient, gateway: Gateway) -> None:
        execution = await started(ada)
        url = f"/v1/executions/{execution['id']}/output"
        player = Player(gateway.parts, execution["id"])
        await player.claim()
        await player.begin("outline")
        await player.complete("outline", "Plan")
        await player.begin("text", kind="generate")
        await player.say("text", 0, "Half a ")
        await player.say("text", 7, "book")
        answer = await ada.get(url)
        assert (answer.text, answer.headers["x-lekhika-partial"]) == ("Half a book", "true")
        await player.complete("text", "A book 🍵")
        await player.finish()
        answer = await ada.get(url)
        assert (answer.text, answer.headers["x-lekhika-partial"]) == ("A book 🍵", "false")
        as_json = await ada.get(url, headers={"Accept": "text/css, application/json;q=0.9"})
        assert as_json.json() == {
            "execution_id": execution["id"],
            "status": "completed",
            "partial": False,
            "node": "text",
            "text": "A book 🍵",
        }
        markdown = await ada.get(url, headers={"Accept": "text/markdown"})
        assert markdown.headers["content-type"] == "text/markdown; charset=utf-8"
        problem(await ada.get(url, headers={"Accept": "image/png"}), 406, "not_acceptable")

    async def test_a_pruned_one_is_gone_with_its_usage(
        self, ada: httpx.AsyncClient, ben: httpx.AsyncClient, gateway: Gateway, database: Database
    ) -> None:
        execution_id = new_id()
        pruned = ExecutionPruned(
            user_id=database.people["ada"].user_id,
            ended="stopped",
            ended_at=datetime.now(UTC),
            usage=(usage(),),
        )
        await gateway.parts.log.append(execution_id, pruned, 0)
        for call in (ada.get, ada.post):
            path = f"/v1/executions/{execution_id}" + ("/stop" if call == ada.post else "")
            body = problem(await call(path), 410, "execution_pruned")
            assert body["tokens"]["total"] == 15
            assert body["ended"] == "stopped"
        problem(await ben.get(f"/v1/executions/{execution_id}"), 404, "execution_not_found")

    async def test_lists_are_pages_of_the_read_model(
        self, ada: httpx.AsyncClient, database: Database
    ) -> None:
        ids = [new_id() for _ in range(5)]
        user_id = database.people["ada"].user_id
        for number, execution_id in enumerate(ids):
            database.execute(
                "insert into executions (id, user_id, engine_id, engine_name, engine_version, title, status, kind,"
                " created_at, last_seq)"
                " values (%s, %s, 'listed', 'Listed', 1, 'Tea', %s, 'none', '2030-01-01T00:00:00Z', 1)",
                execution_id,
                user_id,
                "queued" if number % 2 else "failed",
            )
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = await ada.get(
                "/v1/executions", params={"engine": "listed", "limit": 2, "cursor": cursor}
            )
            assert answer.status_code == 200, answer.text
            seen += [item["id"] for item in answer.json()["items"]]
            cursor = answer.json()["next_cursor"]
        assert seen == sorted(ids, reverse=True)
        only = await ada.get("/v1/executions", params={"engine": "listed", "status": "failed"})
        assert [item["title"] for item in only.json()["items"]] == ["Tea"] * 3

    @pytest.mark.parametrize(
        "query",
        ["limit=0", "limit=101", "limit=x", "status=nope", "cursor=nope", "cursor=WzEsMl0", "engine=%00"],
    )
    async def test_a_query_that_can_not_be(self, ada: httpx.AsyncClient, query: str) -> None:
        body = problem(await ada.get(f"/v1/executions?{query}"), 422, "invalid_request")
        assert fields(body) == {query.split("=")[0]}


class TestAround:
    async def test_who_i_am(self, ada: httpx.AsyncClient, database: Database) -> None:
        me = (await ada.get("/v1/me")).json()
        assert me["user_id"] == database.people["ada"].user_id
        assert (me["role"], me["provider"]) == ("user", "stand-in")

    async def test_the_page_is_served_and_kept_from_harm(self, anybody: httpx.AsyncClient) -> None:
        page = await anybody.get("/")
        assert page.status_code == 200
        assert "/console/main.js" in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        problem(await anybody.get("/console/../app.py"), 404, "not_found")
        problem(await anybody.get("/console/%2e%2e/app.py"), 404, "not_found")

    async def test_health_and_metrics(self, anybody: httpx.AsyncClient) -> None:
        assert (await anybody.get("/livez")).status_code == 200
        ready = (await anybody.get("/readyz")).json()
        assert (ready["ready"], ready["service"]) == (True, "gateway")
        metrics = (await anybody.get("/metrics")).text
        assert 'lekhika_http_requests_total{method="POST",route="/v1/executions"' in metrics

    async def test_the_calls_are_described(self, anybody: httpx.AsyncClient) -> None:
        paths = (await anybody.get("/openapi.json")).json()["paths"]
        assert "requestBody" in paths["/v1/executions"]["post"]
