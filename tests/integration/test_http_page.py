"""What docs/http.md shows is what happens: its examples with curl, against a gateway with an executor."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.fuzzing import Fuzzed, fuzzed_gateway
from tests.support.gateway import ROOT
from tests.support.http_page import EVENTS, EXAMPLES, PROBLEM, Ran, learned, run


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples of the page need curl")
async def test_every_example_of_the_page_answers_as_it_says(tmp_path: Path) -> None:
    async with fuzzed_gateway(tmp_path) as here:
        given = await _newcomer(here)
        ran: list[Ran] = []
        for example in EXAMPLES:
            ran.append(await run(example, tmp_path, given))
            assert len(ran[-1].statuses) == len(ran[-1].wanted) > 0, example
            for status, wanted in zip(ran[-1].statuses, ran[-1].wanted, strict=True):
                assert status in wanted, (example, ran[-1].output)
            given |= learned(ran[-1].answer)
    streams = [
        found for each in ran if (found := set(re.findall(r"^event: (\w+)", each.output, re.MULTILINE)))
    ]
    assert streams[0] == EVENTS
    assert _saved(tmp_path) == {".epub"}
    (refused,) = [each.answer for each in ran if each.answer.get("code") == PROBLEM["code"]]
    assert {**refused, "errors": None} == {**PROBLEM, "detail": refused["detail"], "errors": None}
    assert {error["field"] for error in PROBLEM["errors"]} <= {error["field"] for error in refused["errors"]}


def _saved(folder: Path) -> set[str]:
    """Suffixes of the downloads."""
    return {file.suffix for file in folder.iterdir()} & {".epub", ".md", ".docx", ".html"}


async def _newcomer(here: Fuzzed) -> dict[str, str]:
    """Somebody with a password, on a system that has the sample."""
    sample = json.loads((ROOT / "services/gateway/samples/short-book.json").read_text())
    person = {"email": "newcomer@example.org", "name": "Newcomer", "password": "a pass phrase of many words"}
    headers = {"Authorization": f"Bearer {here.key}"}
    async with here.gateway.client() as root:
        (await root.post("/v1/admin/users", json=person, headers=headers)).raise_for_status()
        (await root.put("/v1/engines/short-book", json=sample, headers=headers)).raise_for_status()
        share = {"visibility": "everyone"}
        path = "/v1/engines/short-book/sharing"
        (await root.put(path, json=share, headers=headers)).raise_for_status()
    return {"URL": here.gateway.url, "EMAIL": person["email"], "PASSWORD": person["password"]}
