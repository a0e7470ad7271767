"""Which converter makes which form. Pure, and slow for a long text: see `services.gateway.conversions`."""

from typing import assert_never

from services.gateway.downloads.docx import to_docx
from services.gateway.downloads.epub import to_epub
from services.gateway.downloads.form import BookForm, Form
from services.gateway.downloads.html import to_html
from services.gateway.downloads.markdown import read
from services.gateway.downloads.source import Source


def convert(source: Source, form: BookForm) -> bytes:
    book = read(source)
    match form:
        case Form.HTML:
            return to_html(book)
        case Form.EPUB:
            return to_epub(book)
        case Form.DOCX:
            return to_docx(book)
        case _:
            assert_never(form)
