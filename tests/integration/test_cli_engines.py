"""`lekhika engine` and `lekhika admin models` against a real gateway."""

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.ids import new_id
from tests.support.cli import Commands, Done, commands
from tests.support.gateway import Database, Gateway

Lekhika = Callable[..., Awaitable[Done]]


def definition(engine_id: str, name: str = "One", **changes: Any) -> dict[str, Any]:
    node = {"id": "text", "kind": "generate", "model": "gemini-3.8-flash", "prompt": name}
    return {"name": name, "id": engine_id, "nodes": [node], "output": "text", **changes}


@pytest.fixture(scope="module")
def process() -> Iterator[Commands]:
    with commands() as kept:
        yield kept


@pytest.fixture
def lekhika(gateway: Gateway, database: Database, process: Commands) -> Lekhika:
    async def run(*arguments: str, who: str = "ada") -> Done:
        return await process.run(
            *arguments, LEKHIKA_URL=gateway.url, LEKHIKA_API_KEY=database.people[who].key
        )

    return run


def saved(folder: Path, name: str, content: dict[str, Any]) -> str:
    file = folder / name
    file.write_text(
        json.dumps(content) if name.endswith(".json") else yaml.safe_dump(content, sort_keys=False)
    )
    return str(file)


async def test_several_files_are_stored_or_none(lekhika: Lekhika, tmp_path: Path) -> None:
    one, two = new_id(), new_id()
    good = saved(tmp_path, "good.json", definition(one))
    bad = saved(tmp_path, "bad.yaml", definition(two, output="nowhere"))
    refused = await lekhika("engine", "import", good, bad, "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["stored"]) == (1, [])
    assert json.loads(refused.stdout)["bad"][0]["errors"][0]["field"] == "output"
    assert (await lekhika("engine", "show", one)).refused
    twice = await lekhika("engine", "import", good, saved(tmp_path, "same.yaml", definition(one)))
    assert (twice.exit_code, "as well" in twice.stderr, "Nothing was stored" in twice.stderr) == (
        1,
        True,
        True,
    )
    done = await lekhika("engine", "import", good, saved(tmp_path, "two.yaml", definition(two)), "--json")
    assert json.loads(done.stdout) == {"stored": [{"id": one, "version": 1}, {"id": two, "version": 1}]}


async def test_what_is_exported_is_what_its_author_wrote(lekhika: Lekhika, tmp_path: Path) -> None:
    engine_id = new_id()
    for title in ("One", "Two"):
        await lekhika("engine", "put", saved(tmp_path, "in.json", definition(engine_id, title)))
    await lekhika("engine", "export", engine_id, "--version", "1", "-o", str(tmp_path / "out.json"))
    content = json.loads((tmp_path / "out.json").read_text())
    assert content == definition(engine_id, "One")
    assert list(content) == ["id", "name", "nodes", "output"]
    await lekhika("engine", "export", engine_id, "-o", str(tmp_path / "out.yaml"))
    assert yaml.safe_load((tmp_path / "out.yaml").read_text()) == definition(engine_id, "Two")
    again = await lekhika("engine", "import", str(tmp_path / "out.json"), "--json")
    assert json.loads(again.stdout)["stored"] == [{"id": engine_id, "version": 3}]


async def test_a_draft_is_published_listed_restored_and_shared(lekhika: Lekhika, tmp_path: Path) -> None:
    engine_id = new_id()
    await lekhika("engine", "put", saved(tmp_path, "one.json", definition(engine_id, "One")))
    assert (
        "draft"
        in (await lekhika("engine", "put", saved(tmp_path, "n.json", {"id": engine_id}), "--draft")).stdout
    )
    assert (await lekhika("engine", "publish", engine_id)).refused
    await lekhika("engine", "put", saved(tmp_path, "two.json", definition(engine_id, "Two")), "--draft")
    assert "version 2: published" in (await lekhika("engine", "publish", engine_id)).stdout
    assert "version 3: as version 1 was" in (await lekhika("engine", "restore", engine_id, "1")).stdout
    items = json.loads((await lekhika("engine", "versions", engine_id, "--json")).stdout)["items"]
    assert [(item["version"], item["name"]) for item in items] == [(3, "One"), (2, "Two"), (1, "One")]
    assert (await lekhika("engine", "show", engine_id, who="ben")).refused
    assert "everyone" in (await lekhika("engine", "share", engine_id, "everyone")).stdout
    shown = await lekhika("engine", "show", engine_id, "--json", who="ben")
    assert (json.loads(shown.stdout)["name"], json.loads(shown.stdout)["shared"]) == ("One", True)
    assert "only you" in (await lekhika("engine", "share", engine_id, "private")).stdout


async def test_models_are_set_priced_retired_and_listed(lekhika: Lekhika, database: Database) -> None:
    name = f"openai/test/{new_id()}"
    assert (await lekhika("admin", "models", "set", name, who="root")).exit_code == 2
    done = await lekhika(
        "admin", "models", "set", name, "--tier", "payg", "--input-limit", "9000", who="root"
    )
    assert done.stdout == f"{name}: payg\n"
    changed = await lekhika("admin", "models", "set", name, "--thinking", "--json", who="root")
    assert (json.loads(changed.stdout)["input_limit"], json.loads(changed.stdout)["tier"]) == (9000, "payg")
    assert json.loads(changed.stdout)["capabilities"]["thinking"] is True
    priced = await lekhika(
        "admin", "models", "price", name, "--input", "1.5", "--output", "7.5", "--long-input", "3",
        "--long-output", "9", "--json", who="root",
    )  # fmt: skip
    assert {price["token_kind"] for price in json.loads(priced.stdout)["prices"]} == {
        "input", "cached", "output", "thoughts", "tool",
    }  # fmt: skip
    retired = await lekhika("admin", "models", "retire", name, "--successor", "gemini-3.8-flash", who="root")
    assert "retired, take gemini-3.8-flash; named by 0 engines" in retired.stdout
    listed = (await lekhika("admin", "models", "list", who="root")).stdout
    (line,) = [line for line in listed.splitlines() if line.startswith(name)]
    assert line.split()[1:6] == ["payg", "9,000", "1.5000", "1.5000", "7.5000"]
    back = await lekhika("admin", "models", "set", name, "--reinstate", "--json", who="root")
    assert (json.loads(back.stdout)["retired"], json.loads(back.stdout)["successor"]) == (False, None)
    assert (await lekhika("admin", "models", "list")).refused
    assert (await lekhika("admin", "models", "refresh", who="root")).refused
    database.execute("DELETE FROM model_prices WHERE model = %s", name)
    database.execute("DELETE FROM models WHERE name = %s", name)
