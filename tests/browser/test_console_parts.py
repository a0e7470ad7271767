"""Parts of the console that decide, each called in the browser as the page itself calls it."""

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.support.stack import Stack

ASSEMBLE = """async pieces => {
    const { NodeText } = await import("/console/text_assembly.js");
    const content = new NodeText();
    for (const [attempt, offset, text] of pieces) content.add(attempt, { offset, text });
    return [content.text, content.length, content.hasGap];
}"""

PARSE = """async chunks => {
    const { EventParser } = await import("/console/event_stream.js");
    const parser = new EventParser();
    return chunks.flatMap(chunk => parser.feed(chunk)).map(({ id, event, data }) => [id, event, data]);
}"""

STARTS = """async () => {
    const { keyFor, answered } = await import("/console/start_intent.js");
    const first = keyFor("a");
    const again = keyFor("a");
    answered(first);
    const secondClick = keyFor("a");
    return [first === again, first === secondClick, first === keyFor("b")];
}"""

GROUPS = """async items => {
    const { readBuckets } = await import("/console/usage_buckets.js");
    return readBuckets(items).map(({ group }) => group);
}"""


HINT = """async input => {
    const { hintOf } = await import("/console/input_field.js");
    return hintOf(input);
}"""


BARE = """async text => {
    const { bare } = await import("/console/reading_view.js");
    return bare(text);
}"""


@pytest.fixture
def served(page: Page, stack: Stack) -> Page:
    page.goto(f"{stack.gateway_url}/")
    return page


@pytest.mark.parametrize(
    ("pieces", "text", "has_gap"),
    [
        pytest.param(
            [[1, 0, "नदी 👩‍🚀"], [1, 7, " 🌊"], [1, 9, "!"]], "नदी 👩‍🚀 🌊!", False, id="code-points"
        ),
        pytest.param([[1, 0, "🌊🌊"], [1, 0, "🌊🌊"], [1, 1, "🌊🏔"]], "🌊🌊🏔"[:2] + "🏔", False, id="retold"),
        pytest.param([[1, 0, "a"], [1, 2, "c"], [1, 1, "b"]], "abc", False, id="out-of-order"),
        pytest.param([[1, 0, "a"], [1, 2, "c"]], "a", True, id="gap"),
        pytest.param([[1, 0, "first"], [2, 0, "second"], [1, 5, "late"]], "second", False, id="new-attempt"),
        pytest.param([[1, 0, "one thing"], [1, 0, "another"]], "another", False, id="said-anew"),
    ],
)
def test_text_is_put_together_by_code_points(
    served: Page, pieces: list[Any], text: str, has_gap: bool
) -> None:
    assert served.evaluate(ASSEMBLE, pieces) == [text, len(text), has_gap]


def test_events_are_read_wherever_the_stream_is_cut(served: Page) -> None:
    stream = 'id: 7\r\nevent: delta\r\ndata: {"a":1}\r\n\r\n: ping\n\ndata: x\ndata: y\n\nid: 9\nevent: half'
    events = [["7", "delta", '{"a":1}'], ["7", "message", "x\ny"]]
    assert served.evaluate(PARSE, [stream]) == events
    assert served.evaluate(PARSE, list(stream)) == events


def test_double_click_and_retry_carry_one_key(served: Page) -> None:
    assert served.evaluate(STARTS) == [True, True, False]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (
            {"type": "text", "description": "What it is about", "max_length": 2000},
            "What it is about. At most 2,000 characters.",
        ),
        ({"type": "text", "description": "About what?"}, "About what?"),
        ({"type": "number", "minimum": 100, "maximum": 12000}, "100 to 12,000."),
    ],
)
def test_a_hint_is_made_of_sentences(served: Page, given: dict[str, Any], hint: str) -> None:
    assert served.evaluate(HINT, given) == hint


def test_a_formatted_output_has_neither_style_nor_a_way_out(served: Page) -> None:
    page = (
        "<html><head><style>p { color: red }</style></head><body><nav><a href='#a'>Contents</a></nav>"
        "<p><a href='https://example.org/'>a link</a></p>"
        '<table><tbody><tr><td style="text-align:right">1</td></tr></tbody></table></body></html>'
    )
    found = served.evaluate(BARE, page)
    assert "<p><a>a link</a></p>" in found
    assert '<td align="right">1</td>' in found
    assert not [part for part in ("style", "href", "nav") if part in found]


def test_engines_of_the_same_name_are_told_apart(served: Page) -> None:
    engines = [("book", "Book"), ("book-2", "Book"), ("reply", "Reply"), ("book", "Book")]
    items = [{"bucket": "2026-01-01T00:00:00Z", "engine_id": e, "engine_name": n} for e, n in engines]
    assert served.evaluate(GROUPS, items) == ["Book (book)", "Book (book-2)", "Reply", "Book (book)"]
