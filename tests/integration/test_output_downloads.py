"""Downloads over HTTP: the form asked for, named after the text, and no load on the gateway."""

import asyncio
import io
import time
import zipfile
from typing import Any

import httpx
import pytest
from docx import Document

from services.gateway import conversions
from services.gateway.conversions import Conversions
from services.gateway.downloads.form import Form
from services.gateway.problems import Problem
from tests.integration.test_gateway_requests import fields, problem, started
from tests.support.gateway import Gateway, Player
from tests.unit.test_downloads import source

TEXT = "# The keepers 🍵\n\n## Dawn\n\nFirst light.\n\n## Dusk\n\nLast light.\n"


async def written(client: httpx.AsyncClient, gateway: Gateway, text: str = TEXT) -> tuple[str, Player]:
    execution = await started(client)
    player = Player(gateway.parts, execution["id"])
    await player.claim()
    await player.begin("text", kind="generate")
    await player.complete("text", text)
    return f"/v1/executions/{execution['id']}/output", player


async def test_a_finished_text_is_had_in_every_form(ada: httpx.AsyncClient, gateway: Gateway) -> None:
    url, player = await written(ada, gateway)
    await player.finish()
    assert (await ada.get(url, params={"format": "md"})).content == TEXT.encode()
    epub = await ada.get(url, params={"format": "epub"})
    assert epub.headers["content-type"] == "application/epub+zip"
    assert epub.headers["content-disposition"] == (
        "attachment; filename=\"The keepers .epub\"; filename*=UTF-8''The%20keepers%20%F0%9F%8D%B5.epub"
    )
    with zipfile.ZipFile(io.BytesIO(epub.content)) as file:
        assert "First light." in file.read("EPUB/chapter-0001.xhtml").decode()
    docx = await ada.get(url, headers={"Accept": Form.DOCX.media_type})
    assert "Dusk" in [part.text for part in Document(io.BytesIO(docx.content)).paragraphs]
    html = await ada.get(url, headers={"Accept": "text/html"})
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert html.headers["content-disposition"].startswith("attachment;")
    assert "First light." in html.text
    refused = problem(await ada.get(url, params={"format": "pdf"}), 422, "invalid_request")
    assert fields(refused) == {"format"}


async def test_a_download_of_what_still_runs_or_was_stopped_says_so(
    ada: httpx.AsyncClient, gateway: Gateway
) -> None:
    url, _ = await written(ada, gateway)
    page = await ada.get(url, params={"format": "html"})
    assert "not complete" in page.text
    assert "-partial.html" in page.headers["content-disposition"]
    assert page.headers["x-lekhika-partial"] == "true"


async def test_of_what_has_written_nothing_there_is_no_file(ada: httpx.AsyncClient) -> None:
    url = f"/v1/executions/{(await started(ada))['id']}"
    for words in ("nothing yet", "no file of it"):
        for form in Form:
            refused = problem(await ada.get(f"{url}/output", params={"format": form}), 409, "nothing_written")
            assert words in refused["detail"]
        problem(await ada.get(f"{url}/output", headers={"Accept": "text/html"}), 409, "nothing_written")
        plain = await ada.get(f"{url}/output")
        assert (plain.status_code, plain.text, plain.headers["x-lekhika-partial"]) == (200, "", "true")
        assert (await ada.post(f"{url}/stop")).status_code in (200, 202)


async def test_json_is_not_made_into_a_book(ada: httpx.AsyncClient, gateway: Gateway) -> None:
    made: dict[str, Any] = {"id": "plan", "name": "Plan", "output": "plan", "nodes": [
        {"id": "plan", "kind": "generate", "model": "gemini-3.8-flash", "prompt": "p",
         "output_schema": {"type": "object"}}]}  # fmt: skip
    assert (await ada.put("/v1/engines/plan", json=made)).status_code in (200, 201)
    execution = await started(ada, engine="plan", input={})
    player = Player(gateway.parts, execution["id"])
    await player.claim()
    await player.begin("plan", kind="generate")
    await player.complete("plan", '{"a": 1}', structured=True)
    await player.finish("plan")
    url = f"/v1/executions/{execution['id']}/output"
    refused = problem(await ada.get(url, params={"format": "epub"}), 406, "not_acceptable")
    assert "txt, md and json" in refused["detail"]
    browser = await ada.get(url, headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
    assert (browser.status_code, browser.text) == (200, '{"a": 1}')
    for form in browser.headers["x-lekhika-formats"].split(", "):
        assert (await ada.get(url, params={"format": form})).status_code == 200
    found = await ada.get(url, params={"format": "json"})
    assert found.headers["x-lekhika-formats"] == "txt, md, json"
    assert found.json()["json"] == {"a": 1}
    assert found.headers["content-disposition"] == 'attachment; filename="Plan.json"'


async def test_a_long_book_does_not_hold_up_the_loop() -> None:
    """Nor grow the gateway: it is made in a process of its own."""
    chapter = "## One more\n\n" + "Some **words** of a long book that goes on. " * 220
    text = "# Long\n\n" + "\n\n".join([chapter] * 20)
    delays: list[float] = []
    making = asyncio.ensure_future(Conversions().make(source(text), Form.DOCX, "ada"))
    while not making.done():
        before = time.thread_time()  # what others take of a full machine does not count
        await asyncio.sleep(0)
        await asyncio.wait([making], timeout=0.005)
        delays.append(time.thread_time() - before)
    assert len(Document(io.BytesIO(making.result())).paragraphs) == 1 + 1 + 2 * 20
    assert sorted(delays)[len(delays) * 99 // 100] < 0.1


async def test_what_is_too_much_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Conversions()
    with pytest.raises(Problem) as refused:
        await here.make(source("x" * (conversions.MAX_CHARACTERS + 1)), Form.EPUB, "ada")
    assert (refused.value.status, refused.value.code) == (422, "output_too_long")
    monkeypatch.setattr(conversions, "PATIENCE_SECONDS", 0.001)
    with pytest.raises(Problem) as refused:
        await here.make(source(), Form.EPUB, "ada")
    assert (refused.value.status, refused.value.code) == (422, "not_convertible")
    assert "format=md" in refused.value.detail
    monkeypatch.setattr(conversions, "WAITING", -conversions.AT_ONCE)
    with pytest.raises(Problem) as refused:
        await here.make(source(), Form.EPUB, "ada")
    assert refused.value.status == 503


async def inside(here: Conversions, count: int) -> None:
    """Waits until so many have a place."""
    while here._inside != count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def test_one_user_takes_neither_all_places_nor_all_turns() -> None:
    here = Conversions()
    long = source("word *word* " * 100_000)
    async with asyncio.TaskGroup() as group:
        mine = [group.create_task(here.make(long, Form.DOCX, "ada")) for _ in range(conversions.PER_USER)]
        await inside(here, conversions.PER_USER)
        with pytest.raises(Problem) as refused:
            await here.make(source(), Form.EPUB, "ada")
        assert (refused.value.status, refused.value.code) == (429, "too_many_files")
        assert await here.make(source(), Form.EPUB, "ben")
        assert not any(task.done() for task in mine)
        for task in mine:
            task.cancel()
    assert (here._inside, here._users) == (0, {})
    assert await here.make(source(), Form.EPUB, "ada")


async def test_who_leaves_frees_his_place_and_ends_the_process(
    ada: httpx.AsyncClient, gateway: Gateway
) -> None:
    url, _ = await written(ada, gateway, "word *word* " * 100_000)
    here = gateway.parts.conversions
    asking = asyncio.ensure_future(ada.get(url, params={"format": "docx"}))
    await inside(here, 1)
    asking.cancel()
    async with asyncio.timeout(5):
        await inside(here, 0)
