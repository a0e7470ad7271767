"""The blocks of a book as XHTML, and the templates around them. Pure."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it.token import Token
from markupsafe import Markup

from services.gateway.downloads.markdown import Book, parser

TEMPLATES = Path(__file__).with_name("templates")
TOP = 2
"""The heading level of a chapter: above it is only the title of the whole."""

_pages = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(template: str, **values: object) -> str:
    """Everything but Markup is escaped."""
    return _pages.get_template(template).render(**values)


def body(book: Book, blocks: Sequence[Token]) -> Markup:
    """Well-formed as XML."""
    renderer = parser()
    return Markup(renderer.renderer.render(_below(book, blocks), renderer.options, {}))  # noqa: S704 - it escapes


def inline(heading: Token) -> Markup:
    renderer = parser()
    return Markup(renderer.renderer.render([heading], renderer.options, {}))  # noqa: S704 - it escapes


def _below(book: Book, blocks: Sequence[Token]) -> Sequence[Token]:
    """With headings that count from the level of the chapters."""
    return [
        token.copy(tag=f"h{heading_level(book, token)}") if token.type.startswith("heading_") else token
        for token in blocks
    ]


def heading_level(book: Book, token: Token) -> int:
    """2 for a chapter, 3 below it, and so on to 6."""
    return min(6, max(TOP, TOP + int(token.tag[1]) - book.level))
