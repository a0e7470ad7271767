"""`python -m tests.bench.book [CHAPTERS WORDS]`: a book of 60 chapters of 2,000 words, from the request to the EPUB.

Fails when the assembled stream is not the output byte for byte, the EPUB lacks a chapter or a word, an event is over
128 KiB, or the executor takes more than 250 MB.
"""

import asyncio
import io
import json
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree

import httpx
import nats
import psutil
from nats.js import JetStreamContext

from tests.bench.figures import Figure, Report
from tests.bench.harness import run
from tests.support.stack import Stack

CHAPTERS = 60
WORDS = 2_000
SECONDS = 400.0
MAX_MEMORY = 250_000_000
MAX_EVENT = 128 * 1024
SAMPLED_SECONDS = 0.05


class Memory:
    """The most that each process of the product held, in bytes resident, while the block ran."""

    def __init__(self, stack: Stack) -> None:
        self._watched = {
            each["name"] + f" {each['pid']}": psutil.Process(each["pid"])
            for each in stack.services
            if each["name"] in ("executor", "gateway")
        }
        self.before = {name: process.memory_info().rss for name, process in self._watched.items()}
        self.most = dict(self.before)

    def look(self) -> None:
        for name, process in self._watched.items():
            self.most[name] = max(self.most[name], process.memory_info().rss)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async def look_on() -> None:
            while True:
                self.look()
                await asyncio.sleep(SAMPLED_SECONDS)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(look_on())
            yield
            task.cancel()


async def streamed(client: httpx.AsyncClient, execution_id: str) -> dict[str, str]:
    """The text of each node as a viewer assembles it, until the end."""
    texts: dict[str, str] = {}
    attempts: dict[str, int] = {}
    event = ""
    async with client.stream("GET", f"/v1/executions/{execution_id}/events", timeout=SECONDS) as stream:
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == "delta":
                _add(texts, attempts, json.loads(value))
            elif name == "data" and event == "end":
                assert json.loads(value)["status"] == "completed", value
    return texts


def _add(texts: dict[str, str], attempts: dict[str, int], delta: dict[str, Any]) -> None:
    node = delta["node"]
    if attempts.setdefault(node, delta["attempt"]) != delta["attempt"]:
        attempts[node], texts[node] = delta["attempt"], ""
    so_far = texts.get(node, "")
    assert len(so_far) == delta["offset"], f"{node}: a gap"
    texts[node] = so_far + delta["text"]


async def largest_event(js: JetStreamContext, execution_id: str) -> tuple[int, int]:
    """How many events there are, and the bytes of the largest with its headers."""
    subject = f"executions.{execution_id}.>"
    subscription = await js.subscribe(subject, ordered_consumer=True)
    count = largest = 0
    while True:
        message = await subscription.next_msg(timeout=30)
        headers = sum(len(name) + len(value) + 4 for name, value in (message.headers or {}).items()) + 12
        count, largest = count + 1, max(largest, len(message.data) + headers)
        if message.metadata.num_pending == 0:
            return count, largest


def epub_words(content: bytes) -> list[int]:
    """Words of each chapter that the table of contents names, without its heading."""
    found = []
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        contents = ElementTree.fromstring(file.read("EPUB/contents.xhtml"))
        links = [element.get("href") for element in contents.iter() if element.get("href")]
        for name in (link for link in links if link and link.startswith("chapter-")):
            chapter = ElementTree.fromstring(file.read(f"EPUB/{name}"))
            paragraphs = [element for element in chapter.iter() if element.tag.endswith("}p")]
            found.append(sum(len("".join(each.itertext()).split()) for each in paragraphs))
    return found


async def book(stack: Stack, report: Report) -> None:
    chapters, each = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (CHAPTERS, WORDS)
    memory = Memory(stack)
    given = {"topic": f"rivers [[standin words={each} chunk_ms=1]]", "chapters": chapters}
    nc = await nats.connect(stack.nats_url)
    async with stack.client() as client, memory.watched():
        begun = time.monotonic()
        made = await client.post("/v1/executions", json={"engine": "short-book", "input": given})
        made.raise_for_status()
        execution_id = made.json()["id"]
        texts = await streamed(client, execution_id)
        report.plain("written and streamed", f"{time.monotonic() - begun:.0f} s")
        url = f"/v1/executions/{execution_id}/output"
        output = await client.get(url, params={"format": "md"})
        assert output.content == texts["book"].encode(), "the stream and the output differ"
        for form in ("html", "epub", "docx"):
            begun = time.monotonic()
            file = await client.get(url, params={"format": form}, timeout=120)
            file.raise_for_status()
            seconds = time.monotonic() - begun
            report.plain(f"download as {form.upper()}", f"{seconds:.1f} s, {len(file.content):,} bytes")
            if form == "epub":
                words = epub_words(file.content)
    assert words == [each] * chapters, words
    assert sum(words) == sum(len(texts[f"edited/{index}"].split()) for index in range(chapters))
    report.plain("words in the EPUB, and chapters", f"{sum(words):,}, {len(words)}")
    report.plain("words and bytes of the output", f"{len(output.text.split()):,}, {len(output.content):,}")
    for name, most in memory.most.items():
        target = "250 MB" if name.startswith("executor") else ""
        value = f"{memory.before[name] / 1e6:.0f} MB before, at most {most / 1e6:.0f} MB"
        met = most < MAX_MEMORY if target else None
        report.figures.append(Figure(what=f"memory of {name}", value=value, target=target, met=met))
    count, largest = await largest_event(nc.jetstream(), execution_id)
    await nc.close()
    report.figures.append(
        Figure(
            what=f"largest of {count} events",
            value=f"{largest:,} bytes",
            target=f"{MAX_EVENT:,} bytes",
            met=largest <= MAX_EVENT,
        )
    )
    assert all(figure.met is not False for figure in report.figures)


if __name__ == "__main__":
    run(book)
