"""The forms that an output can be had in. Pure."""

from enum import StrEnum
from typing import Literal, assert_never


class Form(StrEnum):
    """Its value is what `?format=` takes, and the suffix of the file."""

    TXT = "txt"
    MD = "md"
    JSON = "json"
    HTML = "html"
    EPUB = "epub"
    DOCX = "docx"

    @property
    def media_type(self) -> str:
        match self:
            case Form.TXT:
                return "text/plain"
            case Form.MD:
                return "text/markdown"
            case Form.JSON:
                return "application/json"
            case Form.HTML:
                return "text/html"
            case Form.EPUB:
                return "application/epub+zip"
            case Form.DOCX:
                return "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
            case _:
                assert_never(self)


BookForm = Literal[Form.HTML, Form.EPUB, Form.DOCX]
"""Made from the Markdown of an output; the others are the output itself."""
