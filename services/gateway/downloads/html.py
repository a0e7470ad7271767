"""A book as one page of HTML that needs nothing else. Pure."""

from services.gateway.downloads.markdown import Book
from services.gateway.downloads.pages import body, inline, page


def to_html(book: Book) -> bytes:
    chapters = [
        {
            "title": chapter.title,
            "heading": inline(chapter.heading) if chapter.heading is not None else None,
            "body": body(book, chapter.blocks),
        }
        for chapter in book.chapters
    ]
    return page("page.html", book=book, source=book.source, chapters=chapters).encode()
