"""Markdown taken apart into a book: title and chapters, each with its blocks. Pure.

The text comes from models and people: HTML in it is text, never markup, links are only those of `SCHEMES`, and pictures
become links, so that nothing is fetched by who reads the file.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from services.gateway.downloads.source import Source, clean, one_line

SCHEMES = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_WHITE = re.compile(r"[\s\x00-\x1f]+")


@dataclass(frozen=True, slots=True)
class Chapter:
    """`blocks` are without its heading, which is None for what stands before the first one."""

    title: str
    heading: Token | None
    blocks: Sequence[Token]


@dataclass(frozen=True, slots=True)
class Book:
    """`level` is that of the headings that begin its chapters; headings below it count from there."""

    source: Source
    title: str
    level: int
    chapters: Sequence[Chapter]


def _allowed(url: str) -> bool:
    return SCHEMES.match(_WHITE.sub("", url)) is not None


def parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "xhtmlOut": True, "maxNesting": 20})
    made.enable(["table", "strikethrough"])
    made.validateLink = _allowed  # type: ignore[method-assign]
    return made


def read(source: Source) -> Book:
    """A single heading above all others at the beginning is the title of the whole; those of the level below it begin
    chapters. Without one, those of the highest level do.
    """
    tokens = [_plain_pictures(_cleaned(token)) for token in parser().parse(source.text)]
    heads = [index for index, token in enumerate(tokens) if token.type == "heading_open" and token.level == 0]
    levels = [_level(tokens[index]) for index in heads]
    title = None
    if heads and heads[0] == 0 and levels[0] < min(levels[1:], default=7):
        title = _plain(tokens[1])
        tokens, heads, levels = tokens[3:], [index - 3 for index in heads[1:]], levels[1:]
    level = min(levels, default=1)
    title = title or one_line(source.fallback_title)
    starts = [index for index, found in zip(heads, levels, strict=True) if found == level]
    return Book(source=source, title=title, level=level, chapters=tuple(_chapters(tokens, starts, title)))


def title_of(text: str, fallback: str) -> str:
    """The heading that the text begins with, for a name: without reading all of it."""
    first = text.lstrip()[:2000].partition("\n")[0]
    if not re.match(r"#{1,6}\s", first):
        return one_line(fallback)
    tokens = parser().parse(first)
    return (_plain(tokens[1]) if len(tokens) > 1 else "") or one_line(fallback)


def _chapters(tokens: Sequence[Token], starts: Sequence[int], title: str) -> Sequence[Chapter]:
    found = []
    front = tokens[: starts[0]] if starts else tokens
    if front or not starts:
        found.append(Chapter(title, None, front))
    for start, end in itertools.pairwise([*starts, len(tokens)]):
        heading = tokens[start + 1]
        found.append(Chapter(_plain(heading) or "…", heading, tokens[start + 3 : end]))
    return found


def _level(token: Token) -> int:
    return int(token.tag[1])


def _plain(inline: Token) -> str:
    """The text of a heading without its markup."""
    return one_line("".join(_words(inline)))


def _words(inline: Token) -> Sequence[str]:
    return [
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in inline.children or ()
    ]


def _cleaned(token: Token) -> Token:
    """Without the characters that XML can not hold. Only now: `&#12;` becomes one when it is parsed."""
    token.content, token.info = clean(token.content), clean(token.info)
    token.attrs = {
        name: clean(value) if isinstance(value, str) else value for name, value in token.attrs.items()
    }
    for child in token.children or ():
        _cleaned(child)
    return token


def _plain_pictures(token: Token) -> Token:
    if token.children and any(child.type == "image" for child in token.children):
        token.children = [part for child in token.children for part in _as_link(child)]
    return token


def _as_link(child: Token) -> Sequence[Token]:
    if child.type != "image":
        return [child]
    address = str(child.attrGet("src") or "")
    text = Token("text", "", 0, content=child.content or address)
    attributes: dict[str, Any] = {"href": address}
    return [Token("link_open", "a", 1, attrs=attributes), text, Token("link_close", "a", -1)]
