"""Instructions in model names, headers and prompts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.standin.faults import Fault, Strikes
from deploy.local.standin.options import Options, WrongOption, parse, resolve, split_model, split_prompt
from deploy.local.standin.rates import Rates


def test_a_model_name_carries_options() -> None:
    name, raw = split_model("gemini-3.8-flash+chunk_ms=200,chunks=50,fault=cut")
    options = resolve(raw)
    assert name == "gemini-3.8-flash"
    assert (options.chunk_ms, options.chunks, options.fault) == (200.0, 50, Fault.CUT)


def test_a_plain_model_name_carries_none() -> None:
    assert split_model("gemini-3.8-flash") == ("gemini-3.8-flash", {})


def test_marks_in_a_prompt_are_taken_out_and_the_later_one_wins() -> None:
    clean, raw = split_prompt("Boats [[standin chunk_ms=5 words=9]] and [[ standin words=8,times=1 ]]sails")
    assert clean == "Boats  and sails"
    assert raw == {"chunk_ms": "5", "words": "8", "times": "1"}


def test_a_mark_with_match_counts_only_where_its_word_is() -> None:
    mark = "[[standin fault=cut match=Edit]]"
    assert split_prompt(f"edit this {mark}")[1] == {"fault": "cut"}
    assert split_prompt(f"write this {mark}")[1] == {}


def test_later_layers_win() -> None:
    assert resolve({"chunk_ms": 1, "fault": "cut"}, {"chunk_ms": "2"}, {"fault": "none"}) == Options(
        chunk_ms=2
    )


@pytest.mark.parametrize(
    ("raw", "named"),
    [({"colour": "red"}, "colour"), ({"chunks": "many"}, "chunks"), ({"chunk_ms": "-1"}, "chunk_ms"),
     ({"fault": "flood"}, "fault"), ({"chunks": "0"}, "chunks")],
)  # fmt: skip
def test_a_wrong_option_is_named(raw: dict[str, str], named: str) -> None:
    with pytest.raises(WrongOption, match=f'"{named}"'):
        resolve(raw)


def test_a_piece_without_a_value_is_refused() -> None:
    with pytest.raises(WrongOption, match="chunks"):
        parse("chunk_ms=3,chunks")


@given(st.text())
def test_any_prompt_can_be_split(text: str) -> None:
    clean, raw = split_prompt(text)
    assert raw == {}
    assert clean == text


def test_a_fault_strikes_the_first_calls_of_an_id() -> None:
    strikes = Strikes()
    assert [strikes.strikes("a", 2) for _ in range(4)] == [True, True, False, False]
    assert strikes.strikes("b", 1)
    strikes.clear()
    assert strikes.strikes("a", 1)


def test_a_model_over_its_rate_is_told_when_there_is_room_again() -> None:
    rates = Rates()
    assert [rates.over("m", 2, now) for now in (0.0, 10.0)] == [0, 0]
    assert rates.over("m", 2, 15.0) == 45
    assert rates.over("other", 2, 15.0) == 0
    assert rates.over("m", 2, 60.0) == 0
    assert rates.over("m", 2, 61.0) == 9
