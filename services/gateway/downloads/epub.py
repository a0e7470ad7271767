"""A book as EPUB 3: one file per chapter, with a table of contents. Pure.

Written after https://www.w3.org/TR/epub-33/: the container is a ZIP whose first entry is `mimetype`, uncompressed.
"""

import io
import zipfile
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from services.gateway.downloads.markdown import Book, Chapter
from services.gateway.downloads.pages import body, inline, page

MIMETYPE = "application/epub+zip"


def to_epub(book: Book) -> bytes:
    """The same book gives the same bytes."""
    made = io.BytesIO()
    at = book.source.written.timetuple()[:6]
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype", at), MIMETYPE, zipfile.ZIP_STORED)
        for name, text in _files(book):
            archive.writestr(zipfile.ZipInfo(name, at), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _files(book: Book) -> Iterator[tuple[str, str]]:
    """Names in the container and their texts."""
    about = {
        "book": book,
        "source": book.source,
        "chapters": [(chapter_file(index), chapter) for index, chapter in enumerate(book.chapters, 1)],
    }
    yield "META-INF/container.xml", page("container.xml")
    yield (
        "EPUB/package.opf",
        page(
            "package.opf",
            **about,
            identifier=uuid5(NAMESPACE_URL, book.source.id).urn,
            modified=book.source.written.strftime("%Y-%m-%dT%H:%M:%SZ"),
        ),
    )
    yield "EPUB/style.css", page("style.css")
    yield "EPUB/contents.xhtml", page("contents.xhtml", **about)
    yield "EPUB/title.xhtml", page("title.xhtml", **about)
    for index, chapter in enumerate(book.chapters, 1):
        yield f"EPUB/{chapter_file(index)}", _chapter(book, chapter)


def chapter_file(number: int) -> str:
    """Beside the package document."""
    return f"chapter-{number:04}.xhtml"


def _chapter(book: Book, chapter: Chapter) -> str:
    return page(
        "chapter.xhtml",
        source=book.source,
        title=chapter.title,
        heading=inline(chapter.heading) if chapter.heading is not None else None,
        body=body(book, chapter.blocks),
    )
