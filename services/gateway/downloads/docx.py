"""A book as DOCX, with the styles that word processors know: title, headings, lists, quotations. Pure."""

import io

from docx import Document
from docx.document import Document as DocxDocument
from docx.oxml.ns import qn

from services.gateway.downloads.docx_blocks import Blocks
from services.gateway.downloads.docx_inline import Writer
from services.gateway.downloads.markdown import Book
from services.gateway.downloads.pages import TOP, heading_level
from services.gateway.downloads.source import UNKNOWN_LANGUAGE


def to_docx(book: Book) -> bytes:
    document = Document()
    _describe(document, book)
    document.add_heading(book.title, 0)
    for line in (book.source.author, book.source.note):
        if line:
            document.add_paragraph(line, style="Subtitle")
    blocks = Blocks(document, lambda token: heading_level(book, token) - TOP + 1)
    for chapter in book.chapters:
        if chapter.heading is not None:
            Writer(document.add_heading("", 1)).write(chapter.heading)
        blocks.write(chapter.blocks)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def _describe(document: DocxDocument, book: Book) -> None:
    source, about = book.source, document.core_properties
    about.title = book.title[:255]  # the format's own bound
    about.author = (source.author or "")[:255]
    about.comments = source.note or ""
    about.language = source.language
    about.created = about.modified = source.written.replace(tzinfo=None)
    about.last_modified_by = "Lekhika"
    if source.language != UNKNOWN_LANGUAGE:
        for language in document.styles.element.iter(qn("w:lang")):
            language.set(qn("w:val"), source.language)
