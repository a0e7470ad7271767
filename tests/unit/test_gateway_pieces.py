"""Small decisions of the gateway: forms of output, limits, the fleet, what is left of lost calls."""

from typing import Any

import pytest

from services.gateway.commands import limits_for
from services.gateway.downloads.form import Form
from services.gateway.idempotency import digest_of, is_key
from services.gateway.output import nearest
from services.gateway.problems import Problem
from services.gateway.projection import project
from services.gateway.resource import input_json, node_json, nodes_of
from services.gateway.wanted_form import Wish
from services.gateway.workers import GONE_SECONDS, Fleet
from shared import events as ev
from shared.deltas import Delta
from shared.lost import text_of
from shared.workflow import Limits
from tests.support.make import folded, history, node_completed, node_started, requested, started, workflow


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/*", "text/plain"),
        ("application/json", "application/json"),
        ("text/markdown;q=0.5, application/json;q=0.9", "application/json"),
        ("text/css, text/markdown;q=0.1", "text/markdown"),
        ("TEXT/Markdown", "text/markdown"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
        ("application/epub+zip", "application/epub+zip"),
        ("*/*, text/plain;q=0", "text/markdown"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/*;q=0.3, text/html;q=0.7, */*;q=0.5", "text/html"),
    ],
)
def test_the_form_that_is_wanted_most(accept: str | None, form: str) -> None:
    assert Wish.of(accept, None).among(tuple(Form)).media_type == form


@pytest.mark.parametrize(
    "accept", ["image/png", "text/plain;q=0", "text/plain;q=x", "text/plain;q=nan", ";;;,"]
)
def test_no_form_that_is_wanted(accept: str) -> None:
    with pytest.raises(Problem) as refused:
        Wish.of(accept, None).among(tuple(Form))
    assert refused.value.status == 406


DATA = (Form.TXT, Form.MD, Form.JSON)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form.TXT),
        ("application/epub+zip, application/json;q=0.1", Form.JSON),
        (None, Form.TXT),
    ],
)
def test_the_form_is_chosen_among_those_that_there_are(accept: str | None, form: Form) -> None:
    assert Wish.of(accept, None).among(DATA) is form


@pytest.mark.parametrize(("accept", "name"), [("text/html", None), ("*/*", "epub")])
def test_a_form_that_this_output_does_not_have_is_told_what_there_is(accept: str, name: str | None) -> None:
    with pytest.raises(Problem, match="txt, md and json") as refused:
        Wish.of(accept, name).among(DATA)
    assert refused.value.status == 406


def test_a_form_by_name_outranks_what_is_accepted_and_a_wrong_one_is_told_what_there_is() -> None:
    assert Wish.of("image/png", "EPUB").among(tuple(Form)) is Form.EPUB
    with pytest.raises(Problem) as refused:
        Wish.of("*/*", "pdf")
    assert refused.value.status == 422
    assert [(fault.field, fault.detail) for fault in refused.value.errors] == [
        ("format", "must be one of txt, md, json, html, epub, docx")
    ]


def test_limits_are_the_given_then_the_engines_then_the_defaults_and_capped() -> None:
    largest = Limits(seconds=100, tokens=100, output_bytes=100, nodes=100)
    found = limits_for(Limits(tokens=50, nodes=7), {"tokens": 20}, largest)
    assert found == Limits(seconds=100, tokens=20, output_bytes=100, nodes=7)


def test_a_digest_is_of_values_and_not_of_their_order() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


@pytest.mark.parametrize(
    ("text", "good"), [("k", True), ("a b~", True), ("", False), ("é", False), ("x" * 256, False)]
)
def test_what_a_key_may_be(text: str, good: bool) -> None:
    assert is_key(text) is good


def piece(offset: int, text: str) -> Delta:
    return Delta(attempt=1, node="n", node_attempt=1, offset=offset, text=text)


def test_the_text_that_is_left_ends_at_the_first_gap() -> None:
    assert text_of([piece(4, "tea"), piece(0, "Hot "), piece(2, "t te"), piece(8, "lost")]) == "Hot tea"


def test_a_worker_that_disappears_is_shown_as_gone_for_a_while() -> None:
    fleet = Fleet()
    fleet.look([{"id": "a", "state": "ready", "executions": [1]}, {"id": "b", "state": "ready"}], 0.0)
    seen = fleet.look([{"id": "b", "state": "ready"}], 5.0)
    assert [(worker["id"], worker["state"]) for worker in seen] == [("b", "ready"), ("a", "gone")]
    assert seen[1]["gone_seconds"] == 5.0
    assert [worker["id"] for worker in fleet.look([], GONE_SECONDS + 5.5)] == []


def generate(node: str, prompt: str, **more: object) -> dict[str, object]:
    return {"id": node, "kind": "generate", "model": "m", "prompt": prompt, **more}


BOOK = {
    "nodes": [
        generate("outline", "Plan", output_schema={"type": "object"}),
        generate("notes", "Notes"),
        generate("draft", "{{ outline }} {{ notes }}"),
        generate("end", "{{ notes }}"),
        {"id": "text", "kind": "template", "template": "{{ draft }} {{ end }}"},
    ],
    "output": "text",
}


@pytest.mark.parametrize(
    ("texts", "keys"),
    [
        ({"outline": "{}", "notes": "n", "draft": "d", "end": "e"}, ["draft", "end"]),
        ({"outline": "{}", "notes": "n", "draft": "d"}, ["draft"]),
        ({"outline": "{}", "notes": "n"}, ["notes"]),
        ({"outline": "{}"}, ["outline"]),
        ({}, []),
    ],
)
def test_what_stands_for_an_output_that_was_not_begun(texts: dict[str, str], keys: list[str]) -> None:
    state = folded(history(requested(BOOK), started()))
    assert nearest(workflow(BOOK), state, texts, "text") == keys


def test_items_stand_for_their_for_each_and_side_branches_for_nothing_better() -> None:
    parts = {
        "id": "parts", "kind": "for_each", "items": "{{ plan.parts }}",
        "node": {"kind": "generate", "model": "m", "prompt": "{{ item }}"},
    }  # fmt: skip
    plan = generate("plan", "Plan", output_schema={"type": "object"})
    last = {"id": "text", "kind": "template", "template": "{{ parts }}"}
    book = {"nodes": [plan, generate("aside", "A"), parts, last], "output": "text"}
    state = folded(history(requested(book), started(), node_started("parts", items=2)))
    assert nearest(workflow(book), state, {"parts/1": "b", "aside": "a", "plan": "{}"}, "text") == ["parts/1"]
    assert nearest(workflow(book), state, {"aside": "a", "plan": "{}"}, "text") == ["aside"]


TASK = {"kind": "generate", "model": "m", "prompt": "x"}
WAYS: dict[str, Any] = {
    "nodes": [
        {"id": "draft", "kind": "repeat", "node": TASK, "until": "{{ false }}", "times": 5},
        {"id": "way", "kind": "branch", "name": "Way", "cases": [{"when": "{{ draft }}", "node": TASK}],
         "else": {"kind": "template", "template": "{{ draft }}"}},
    ],
    "output": "way",
}  # fmt: skip


def test_rounds_and_cases_are_listed_once_they_have_begun() -> None:
    happened = (node_started("draft"), node_completed("draft/0"), node_started("draft/1"))
    nodes = list(nodes_of(folded(history(requested(WAYS), started(), *happened)), workflow(WAYS).nodes))
    assert [key for key, _, _ in nodes] == ["draft", "draft/0", "draft/1", "way"]
    shown = [node_json(*found) for found in nodes]
    assert [node["kind"] for node in shown] == ["repeat", "generate", "generate", "branch"]
    chosen = (node_completed("draft"), node_started("way"), node_completed("way/1", kind="template"))
    later = folded(history(requested(WAYS), started(), *happened[:2], *chosen))
    (*_, (key, node, state)) = nodes_of(later, workflow(WAYS).nodes)
    found = node_json(key, node, state)
    assert (found["id"], found["kind"], found["name"]) == ("way/1", "template", "Way")


def test_the_last_round_stands_for_a_repeat() -> None:
    happened = (node_started("draft"), node_completed("draft/0"), node_started("draft/1"))
    state = folded(history(requested(WAYS), started(), *happened))
    assert nearest(workflow(WAYS), state, {"draft/0": "a", "draft/1": "b"}, "way") == ["draft/1"]
    assert nearest(workflow(WAYS), state, {"draft/0": "a"}, "way") == ["draft/0"]


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"topic": " Green\n tea ", "tone": "dry", "pages": 20_000_000_000_000}, "Green tea"),
        ({"topic": "x" * 500}, "x" * 120),
        ({"names": ["a", "b"]}, None),
        ({"topic": "  "}, None),
    ],
)
def test_the_title_is_the_longest_text_of_the_input(given: dict[str, object], title: str | None) -> None:
    assert project(history(requested(input=given)), {}).rows[0].title == title


def test_inputs_are_told_in_the_order_of_the_form() -> None:
    must, may = {"type": "text", "required": True}, {"type": "text"}
    node = {"id": "text", "kind": "template", "template": "x"}
    of_form = workflow(
        {"inputs": {"a": may, "b": must, "c": may, "d": must}, "nodes": [node], "output": "text"}
    )
    body = ev.RequestBody(workflow=of_form, input=dict.fromkeys("abcd", "x"))
    assert list(input_json(body)) == ["b", "d", "a", "c"]
