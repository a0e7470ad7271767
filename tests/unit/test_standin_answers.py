"""What is said, in how many pieces, with which token counts."""

from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.standin.asked import Asked, read
from deploy.local.standin.bend import build
from deploy.local.standin.faults import Fault
from deploy.local.standin.options import Options, resolve
from deploy.local.standin.plan import cut, plan
from deploy.local.standin.problems import Refused
from deploy.local.standin.prose import write
from deploy.local.standin.script import Ending, Kind, Script
from deploy.local.standin.subject import Work, find
from deploy.local.standin.wire import Stamp

STAMP = Stamp("gemini-3.8-flash", "response-1")
CHAPTER = 'Write a chapter titled "Low Tide" about the harbours of the north.'


def asked(prompt: str = CHAPTER, **config: Any) -> Asked:
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": config}
    return read(orjson.dumps(body))


def script(prompt: str = CHAPTER, config: dict[str, Any] | None = None, **options: Any) -> Script:
    chosen = resolve(options)
    return build(plan(asked(prompt, **(config or {})), prompt, "flash", chosen), STAMP, chosen)


def visible(play: Script) -> str:
    """The text that a careful client joins from the chunks."""
    text = ""
    for frame in play.frames:
        if frame.kind is Kind.CHUNK:
            for candidate in orjson.loads(frame.data).get("candidates", []):
                parts = candidate.get("content", {}).get("parts", [])
                text += "".join(part["text"] for part in parts if not part.get("thought"))
    return text


def test_prose_names_title_and_topic_and_is_the_same_every_time() -> None:
    text = script(words=60).text
    assert "Low Tide" in text
    assert "the harbours of the north" in text
    assert len(text.split()) == 60
    assert text == script(words=60, chunk_ms=0).text


@pytest.mark.parametrize(
    ("prompt", "topic"),
    [
        ("Plan a text on the history of tea", "the history of tea"),
        ("Write a short book about lighthouses with 3 chapters", "lighthouses"),
        ("Topic: sea ice\nWrite 100 words.", "sea ice"),
        ("Write: Mornings in Lisbon", "Mornings in Lisbon"),
        ("Plan an article of about 800 words on this topic: Rivers\n\nGive it a title.", "Rivers"),
        (
            "Plan a short book on this topic: bread: flour, water, salt\n\nReaders: adults.",
            "bread: flour, water, salt",
        ),
        (
            'The book is "Night", on: the night trains\nTone: warm.\n\n1. A way: It is about luck.',
            "the night trains",
        ),
        ('Write the article "The tide" on sea ice, about 800 words, in a warm tone.', "sea ice"),
        ("Write a poem about this topic about the sea", "the sea"),
        ("", "small things"),
    ],
)
def test_the_topic_is_found(prompt: str, topic: str) -> None:
    assert find(prompt).topic == topic


@given(prompt=st.text(), seed=st.integers(0, 2**64 - 1), words=st.none() | st.integers(1, 200))
def test_any_prompt_gets_a_text(prompt: str, seed: int, words: int | None) -> None:
    text = write(find(prompt), seed, words)
    assert text.strip()


def test_a_translation_is_marked_and_an_edit_keeps_the_text() -> None:
    body = "The sea was calm and nobody spoke, for the boats lay still in the harbour until late.\n\nThen it rained on us."
    assert write(find(f"Translate the text into Nepali:\n\n{body}"), 1).startswith(
        "[Nepali] The sea was calm"
    )
    edit = find(f"Edit this chapter for clarity:\n\n{body}")
    assert edit.work is Work.EDIT
    assert write(edit, 1) == body


@given(text=st.text(), chunks=st.none() | st.integers(1, 40), seed=st.integers(0, 99))
def test_pieces_join_to_the_text(text: str, chunks: int | None, seed: int) -> None:
    pieces = cut(text, chunks, Random(seed))
    assert "".join(pieces) == text
    assert all(pieces)
    if chunks is not None:
        assert len(pieces) == min(chunks, len(text))


@given(
    fault=st.sampled_from(list(Fault)),
    chunks=st.none() | st.integers(1, 9),
    after=st.none() | st.integers(0, 12),
    thoughts=st.integers(0, 3),
    words=st.integers(1, 30),
)
def test_frames_say_what_they_send(
    fault: Fault, chunks: int | None, after: int | None, thoughts: int, words: int
) -> None:
    play = script(fault=fault, chunks=chunks, after=after, thoughts=thoughts, words=words)
    reached = max((frame.chars for frame in play.frames), default=0)
    assert visible(play) == play.text[:reached]
    for frame in play.frames:
        if frame.kind is Kind.CHUNK:
            body = orjson.loads(frame.data)
            assert body.get("usageMetadata") == (frame.usage.wire() if frame.usage else None)
            assert body["responseId"] == "response-1"
    if play.ending is not Ending.COMPLETE:
        assert all(frame.finish is None for frame in play.frames)


def test_usage_is_cumulative_and_adds_up() -> None:
    play = script(chunks=10, thoughts=5, tool=3, cached=2)
    totals = [frame.usage.total for frame in play.frames if frame.usage]
    assert totals == sorted(totals)
    last = play.frames[-1].usage
    assert last is not None
    assert last.wire()["totalTokenCount"] == last.prompt + last.candidates + 5 + 3
    assert last.wire()["cachedContentTokenCount"] == 2


def test_token_overrides_are_reached_exactly() -> None:
    play = script(chunks=7, prompt_tokens=1000, output_tokens=333)
    assert [play.frames[-1].usage.prompt, play.frames[-1].usage.candidates] == [1000, 333]  # type: ignore[union-attr]


def test_zero_counts_are_left_out() -> None:
    first = orjson.loads(script().frames[0].data)["usageMetadata"]
    assert set(first) == {
        "promptTokenCount",
        "candidatesTokenCount",
        "totalTokenCount",
        "promptTokensDetails",
    }


def test_a_token_limit_ends_the_text() -> None:
    play = script(config={"maxOutputTokens": 10}, words=100)
    assert play.frames[-1].finish == "MAX_TOKENS"
    assert len(play.text) == 40
    assert play.frames[-1].usage.candidates == 10  # type: ignore[union-attr]


def test_a_limit_spent_on_thoughts_leaves_no_text() -> None:
    play = script(config={"maxOutputTokens": 10}, thoughts=50)
    assert (visible(play), play.frames[-1].finish) == ("", "MAX_TOKENS")
    assert play.frames[-1].usage.thoughts == 10  # type: ignore[union-attr]


def test_a_stop_sequence_ends_the_text() -> None:
    text = script(words=60).text
    stop = text.split()[20]
    assert script(config={"stopSequences": [stop]}, words=60).text == text.partition(stop)[0]


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_cut_keeps_the_chunks_before_it(chunks: int, after: int) -> None:
    play = script(fault=Fault.CUT, chunks=chunks, after=after)
    assert (len(play.frames), play.ending) == (min(after, chunks), Ending.CUT)


def test_both_spellings_of_request_fields_mean_the_same() -> None:
    snake = {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "system_instruction": {"parts": [{"text": "Be kind."}]},
        "generation_config": {"max_output_tokens": 5, "stop_sequences": ["x"], "response_mime_type": "application/json",
                              "response_json_schema": {"type": "array"}},
    }  # fmt: skip
    camel = {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "generationConfig": {"maxOutputTokens": 5, "stopSequences": ["x"], "responseMimeType": "application/json",
                             "responseJsonSchema": {"type": "array"}},
    }  # fmt: skip
    assert read(orjson.dumps(snake)) == read(orjson.dumps(camel))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"contents":[]}', b'{"contents":"x"}', b'{"contents":[1]}', b'{"contents":[{}]}',
     b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":"a"}}',
     b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":0}}',
     b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"stopSequences":3}}'],
)  # fmt: skip
def test_a_body_that_can_not_be_read_is_an_invalid_argument(body: bytes) -> None:
    with pytest.raises(Refused) as caught:
        read(body)
    assert (caught.value.problem.code, caught.value.problem.status) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("wrong", [{"properties": [1]}, {"type": "object", "required": 3}, {"allOf": 5}])
def test_a_schema_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="response_schema"):
        script(config={"responseMimeType": "application/json", "responseSchema": wrong})


def test_defaults_are_a_short_answer_at_a_reading_pace() -> None:
    options = Options()
    play = script()
    assert (options.first_ms, options.chunk_ms) == (30, 25)
    assert 35 <= len(play.text.split()) <= 90
