"""Blocks of Markdown as paragraphs and tables of DOCX. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from docx.document import Document
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.styles.style import ParagraphStyle
from docx.text.paragraph import Paragraph
from markdown_it.token import Token

from services.gateway.downloads.docx_inline import Writer

DEEPEST = 3
"""The template has styles for lists in lists down to here."""


@dataclass(kw_only=True)
class _List:
    """`number` is the id of its own numbering, so that it begins anew; None for bullets."""

    number: int | None
    fresh: bool = False
    """Whether an item has begun and has no paragraph yet."""


class Blocks:
    """Appends to a document. `level` gives the level of a heading."""

    def __init__(self, document: Document, level: Callable[[Token], int]) -> None:
        self._document = document
        self._level = level
        self._lists: list[_List] = []
        self._quotes = 0
        self._styles: dict[str, ParagraphStyle] = {}

    def write(self, tokens: Sequence[Token]) -> None:
        index = 0
        while index < len(tokens):
            token = tokens[index]
            if token.type == "table_open":
                end = next(at for at in range(index, len(tokens)) if tokens[at].type == "table_close")
                self._table(tokens[index:end])
                index = end
            elif token.type == "heading_open":
                Writer(self._document.add_heading("", self._level(token))).write(tokens[index + 1])
                index += 2
            else:
                self._block(token)
            index += 1

    def _block(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._lists.append(_List(number=None))
            case "ordered_list_open":
                self._lists.append(_List(number=self._numbering(int(token.attrGet("start") or 1))))
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                self._lists[-1].fresh = True
            case "blockquote_open":
                self._quotes += 1
            case "blockquote_close":
                self._quotes -= 1
            case "inline":
                Writer(self._paragraph()).write(token)
            case "fence" | "code_block":
                Writer(self._paragraph()).code(token.content)
            case "hr":
                self._document.add_paragraph("* * *").alignment = WD_ALIGN_PARAGRAPH.CENTER
            case _:
                return  # paragraphs and items end by themselves

    def _paragraph(self) -> Paragraph:
        made = self._document.add_paragraph()
        if self._lists:
            self._as_item(made, self._lists[-1])
        elif self._quotes:
            made.style = self._style("Quote")
        return made

    def _as_item(self, made: Paragraph, here: _List) -> None:
        depth = min(len(self._lists), DEEPEST)
        kind = "Continue" if not here.fresh else "Bullet" if here.number is None else "Number"
        made.style = self._style(f"List {kind}{'' if depth == 1 else f' {depth}'}")
        if here.fresh and here.number is not None:
            properties = _xml(made).get_or_add_pPr().get_or_add_numPr()
            properties.get_or_add_ilvl().val = 0
            properties.get_or_add_numId().val = here.number
        here.fresh = False

    def _style(self, name: str) -> ParagraphStyle:
        if name not in self._styles:
            found = self._document.styles[name]
            assert isinstance(found, ParagraphStyle)
            self._styles[name] = found
        return self._styles[name]

    def _numbering(self, start: int) -> int:
        """The id of a new numbering that begins with `start`; python-docx has no call for it."""
        depth = min(len(self._lists) + 1, DEEPEST)
        style: Any = self._style(f"List Number{'' if depth == 1 else f' {depth}'}").element
        numbering: Any = self._document.part.numbering_part.element
        abstract = numbering.num_having_numId(style.pPr.numPr.numId.val).abstractNumId.val
        made = numbering.add_num(abstract)
        made.add_lvlOverride(ilvl=0).add_startOverride(start)
        return int(made.numId)

    def _table(self, tokens: Sequence[Token]) -> None:
        rows: list[list[Token]] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(token)
        made = self._document.add_table(rows=0, cols=len(rows[0]), style="Table Grid")
        for number, row in enumerate(rows):
            for cell, inline in zip(made.add_row().cells, row, strict=True):
                Writer(cell.paragraphs[0], bold=number == 0).write(inline)


def _xml(paragraph: Paragraph) -> Any:
    return paragraph._p  # noqa: SLF001 - the library's own way to what it has no call for
