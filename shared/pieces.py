"""A long text cut into pieces that a model can take one at a time. Pure."""

import re
from collections.abc import Iterator

LEAST = 100
"""Characters; smaller pieces are no use, and of a long text too many."""
_SENTENCES = re.compile(r"[.!?।](?=\s)|[。！？\n]")
_WORDS = re.compile(r"\s")
_PARAGRAPHS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def pieces(text: str, most: int) -> list[str]:
    """Whole paragraphs, as many as fit into `most` characters; only a longer one is cut, after a sentence, else a word.

    Empty lines divide paragraphs. No piece is empty or longer than `most`, and nothing but white space is left out.
    Raises: ValueError, when `most` is no whole number or under 100; TypeError, when `text` is none.
    """
    if not isinstance(text, str):
        raise TypeError("pieces: only a text can be cut into pieces")
    if isinstance(most, bool) or not isinstance(most, int) or most < LEAST:
        raise ValueError(f"pieces: give the most characters of a piece, a whole number of at least {LEAST}")
    found: list[str] = []
    for paragraph in _short_paragraphs(text, most):
        if found and len(found[-1]) + 2 + len(paragraph) <= most:
            found[-1] += "\n\n" + paragraph
        else:
            found.append(paragraph)
    return found


def _short_paragraphs(text: str, most: int) -> Iterator[str]:
    for paragraph in _PARAGRAPHS.split(text):
        whole = paragraph.strip()
        start = 0
        while len(whole) - start > most:
            end = _end(whole, start, most)
            yield whole[start:end].rstrip()
            start = end
            while whole[start].isspace():  # it ends with something else
                start += 1
        if start < len(whole):
            yield whole[start:]


def _end(text: str, start: int, most: int) -> int:
    """Where to cut: after the last sentence or line that ends in its second half, else after a word, else anywhere."""
    for pattern in (_SENTENCES, _WORDS):
        ends = [found.end() for found in pattern.finditer(text, start + most // 2, start + most)]
        if ends:
            return ends[-1]
    return start + most
