"""Cutting a text into pieces loses nothing and makes none too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.pieces import LEAST, pieces
from shared.templates import TemplateProblem, evaluate, render

TEXTS = st.text(st.sampled_from("ab.। \n\t!。é🍵"), max_size=2000)


@given(TEXTS, st.integers(LEAST, 400))
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, most: int) -> None:
    found = pieces(text, most)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= most and piece == piece.strip() for piece in found)


def test_paragraphs_stay_whole_and_share_a_piece_while_they_fit() -> None:
    short, long = "a" * 40, "b" * 90
    assert pieces(f"{short}\n\n{short}\n \n\n{long}\n\n{short}", 100) == [f"{short}\n\n{short}", long, short]


def test_a_long_paragraph_is_cut_after_a_sentence_else_after_a_word() -> None:
    sentence = "Some words that end here. "
    assert all(piece.endswith("here.") for piece in pieces(sentence * 20, 110))
    assert all(piece.endswith("word") for piece in pieces("word " * 100, 101))
    assert [len(piece) for piece in pieces("x" * 250, 100)] == [100, 100, 50]


def test_a_gap_longer_than_a_piece_makes_no_empty_one() -> None:
    assert pieces("a" * 60 + " " * 350 + "b" * 60, 100) == ["a" * 60, "b" * 60]


def test_a_whole_book_is_cut_in_no_time() -> None:
    assert len(pieces("word. " * 300_000, LEAST)) > 15_000


def test_templates_have_it_and_say_what_is_wrong() -> None:
    assert evaluate("{{ text|pieces(100) }}", {"text": "a\n\nb"}) == ["a\n\nb"]
    for wrong in ("{{ text|pieces(5) }}", "{{ text|pieces('a') }}", "{{ 5|pieces(100) }}"):
        with pytest.raises(TemplateProblem, match="pieces: "):
            render(wrong, {"text": "a"})
