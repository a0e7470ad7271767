"""The sample engines on the whole stack: each gives a text that a person can use, and that can be downloaded."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.gateway.downloads.markdown import read
from services.gateway.seed import samples
from tests.integration.test_main_job import ended
from tests.support.stack import Stack
from tests.unit.test_downloads import source

LONG = "\n\n".join(f"Paragraph {number}. " + "The river goes on past the mill. " * 40 for number in range(10))
GIVEN: dict[str, dict[str, Any]] = {
    "article": {"topic": "bridges"},
    "article-from-notes": {"notes": "- the mill closed in 1921\n- nobody minded"},
    "product-descriptions": {"products": ["Kettle, iron, 2 l", "Teapot"]},
    "short-book": {"topic": "tides", "title": "High & low", "author": "Ada", "language": "German"},
    "summary": {"text": LONG},
    "translate": {"text": LONG, "language": "German", "terms": "mill = Mühle"},
}


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with stack.client() as made:
        yield made


def test_every_input_of_every_sample_shows_well_in_a_form() -> None:
    engines = list(samples())
    assert {engine.id for engine in engines} == set(GIVEN)
    for engine in engines:
        assert engine.description
        for name, spec in engine.inputs.items():
            assert spec.title, f"{engine.id}: {name}"
            assert spec.description, f"{engine.id}: {name}"
            assert spec.required != (spec.default is not None), f"{engine.id}: {name}"
        assert all(node.name for node in engine.nodes)
        assert [name for name, spec in engine.inputs.items() if spec.required] == [next(iter(engine.inputs))]


async def test_each_gives_a_whole_text(client: httpx.AsyncClient) -> None:
    texts = dict(await asyncio.gather(*(_run(client, engine, given) for engine, given in GIVEN.items())))
    for engine in ("article", "article-from-notes"):
        assert texts[engine].startswith("# ")
    book = read(source(texts["short-book"]))
    assert (book.title, len(book.chapters)) == ("High & low", 3)
    products = read(source(texts["product-descriptions"]))
    assert (products.title, len(products.chapters)) == ("Product descriptions", 2)
    assert len(texts["translate"]) > len(LONG) // 2
    assert texts["translate"].count("\n\n") >= LONG.count("\n\n")


async def _run(client: httpx.AsyncClient, engine: str, given: dict[str, Any]) -> tuple[str, str]:
    made = await client.post("/v1/executions", json={"engine": engine, "input": given})
    assert made.status_code == 202, made.text
    found = await ended(client, made.json()["id"])
    assert found["status"] == "completed", found["error"]
    output = f"/v1/executions/{found['id']}/output"
    if engine == "short-book":
        epub = await client.get(output, params={"format": "epub"})
        assert "High & low.epub" in epub.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(epub.content)) as file:
            package = file.read("EPUB/package.opf").decode()
        assert "<dc:language>de</dc:language>" in package
        assert "<dc:creator>Ada</dc:creator>" in package
    text = (await client.get(output)).text
    assert len(text.split()) > 20
    return engine, text
