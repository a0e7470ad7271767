"""Records histories of this release into tests/golden/<release>/: run once for each release, never edited after.

`python -m tests.support.record_golden 0.1`
"""

import asyncio
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from shared.events import Recorded
from shared.execution import ExecutionState
from tests.support.make import MODEL, folded
from tests.support.world import World, world

RECORDED = TypeAdapter(list[Recorded])
GOLDEN = Path(__file__).parent.parent / "golden"

BOOK: dict[str, Any] = {
    "inputs": {"topic": {"type": "text", "required": True}},
    "nodes": [
        {
            "id": "outline",
            "kind": "generate",
            "model": MODEL,
            "prompt": "Plan {{ topic }}",
            "output_schema": {
                "type": "object",
                "required": ["parts"],
                "properties": {
                    "parts": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}}
                },
            },
        },
        {
            "id": "parts",
            "kind": "for_each",
            "items": "{{ outline.parts }}",
            "as": "part",
            "node": {
                "kind": "generate",
                "model": MODEL,
                "prompt": "Write {{ part }} [[standin chunks=20 chunk_ms=20]]",
            },
        },
        {"id": "book", "kind": "template", "template": "{% for p in parts %}{{ p }}\n{% endfor %}"},
    ],
    "output": "book",
}


ROUNDS: dict[str, Any] = {
    "nodes": [
        {
            "id": "draft",
            "kind": "repeat",
            "node": {"kind": "generate", "model": MODEL, "prompt": "Round {{ index }} [[standin words=3]]"},
            "until": "{{ index == 1 }}",
            "times": 5,
        },
        {
            "id": "text",
            "kind": "branch",
            "cases": [{"when": "{{ draft == '' }}", "node": {"kind": "template", "template": "nothing"}}],
            "else": {"kind": "template", "template": "{{ draft }}!"},
        },
    ],
    "output": "text",
}


def one(options: str) -> dict[str, Any]:
    node = {"id": "text", "kind": "generate", "model": MODEL, "prompt": f"Write [[standin {options}]]"}
    return {"nodes": [node], "output": "text"}


def expected(state: ExecutionState) -> dict[str, Any]:
    """The part of a state that every later release must still read out of the history."""
    return {
        "status": state.status,
        "user_id": state.user_id,
        "engine": state.engine.model_dump(),
        "attempt": state.attempt,
        "nodes": {key: [node.status, node.attempts] for key, node in state.nodes.items()},
        "tokens": {**asdict(state.tokens), "total": state.tokens.total},
        "error": state.error.code if state.error else None,
        "stopped_by": state.stop.by if state.stop else None,
        "partials": {partial.node: partial.output.characters for partial in state.partials},
        "ended_at": state.ended_at.isoformat() if state.ended_at else None,
        "anomalies": list(state.anomalies),
    }


async def record(here: World, name: str, execution_id: str, folder: Path) -> None:
    state = await here.ended(execution_id)
    events = RECORDED.dump_python(list(await here.history(execution_id)), mode="json", by_alias=True)
    body = {"events": events, "expected": expected(folded(await here.history(execution_id)))}
    (folder / f"{name}.json").write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"{name:12} {state.status:10} {len(events)} events")


async def main(release: str) -> None:
    folder = GOLDEN / release
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        async with world(Path(scratch)) as here:
            executor = here.executor()
            await record(here, "completed", await here.request(BOOK, input={"topic": "rivers"}), folder)
            key = await here.request(BOOK, input={"topic": "rivers"})
            await here.heard(key, "node_started", "parts/1")
            await here.stop(key)
            await record(here, "stopped", key, folder)
            await record(here, "branch-and-repeat", await here.request(ROUNDS), folder)
            await record(here, "failed", await here.request(one("fault=safety")), folder)
            await record(
                here, "retried", await here.request(one("fault=cut times=1 after=3 chunks=6")), folder
            )
            key = await here.request(BOOK, input={"topic": "seas"})
            await here.heard(key, "node_started", "parts/1")
            here.executor()
            await executor.ended(signal.SIGTERM)
            await record(here, "handed-back", key, folder)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
