"""Files made of an output: nothing of it is lost, nothing of it is run, and readers can open them."""

import io
import zipfile
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from docx import Document

from services.gateway.downloads.convert import convert
from services.gateway.downloads.form import BookForm, Form
from services.gateway.downloads.markdown import read, title_of
from services.gateway.downloads.naming import attachment, file_name
from services.gateway.downloads.source import Source, language_of

XHTML = "{http://www.w3.org/1999/xhtml}"
OPF = "{http://www.idpf.org/2007/opf}"
DC = "{http://purl.org/dc/elements/1.1/}"

BOOK = """# A book of *tea* & rain

To whom it may concern.

## The first <cup>

Water **boils**; `leaf` by leaf.\\
A new line.

### On kettles

- iron
  1. heavy
  2. slow
- tin

3. three
4. four

> Said by nobody.

| pot | price |
| --- | ---: |
| red | 3 |

```
if a < b:
    pour()
```

---

## The second

[a link](https://example.org/?a=1&b=2) ![a picture](https://example.org/p.png) ~~gone~~
"""


def source(text: str = BOOK, **changes: Any) -> Source:
    values: dict[str, Any] = {
        "id": "01a",
        "fallback_title": "Engine",
        "author": "Ada <b>",
        "language": "en-GB",
        "note": None,
        "written": datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
    }
    return Source(text=text, **(values | changes))


def opened(text: str = BOOK, **changes: Any) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(convert(source(text, **changes), Form.EPUB)))


def words_of(file: zipfile.ZipFile, name: str) -> str:
    return " ".join(" ".join(ElementTree.fromstring(file.read(name)).itertext()).split())


class Tags(HTMLParser):
    """All elements and attributes of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


HARM = """# <script>alert(1)</script>

<script>alert(2)</script>

<img src=x onerror=alert(3)> <b onclick="x">b</b>

[a](javascript:alert(4)) [b](JaVa&#115;cript:alert(5)) [c](data:text/html;base64,PHNjcmlwdD4=) <javascript:alert(6)>

![p](https://evil.example/track.png "t\\" onerror=alert(7)")

[d]: vbscript:x
[d]

`</style><script>alert(8)</script>`
"""


@pytest.mark.parametrize("field", [{}, {"author": '"><script>x</script>', "note": "<script>y</script>"}])
def test_nothing_of_a_text_is_run_or_fetched(field: dict[str, str]) -> None:
    page = convert(source(HARM, fallback_title="</title><script>z</script>", **field), Form.HTML)
    found = Tags(page).found
    assert {tag for tag, _ in found} <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "section",
            "h1",
            "h2",
            "p",
            "a",
            "code",
        ),
    }
    names = {name for _, attributes in found for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "style")]
    links = [attributes["href"] for tag, attributes in found if tag == "a"]
    assert links == ["https://evil.example/track.png"]
    with opened(HARM) as file:
        chapter = ElementTree.fromstring(file.read("EPUB/chapter-0001.xhtml"))
        assert not [element for element in chapter.iter() if element.tag in (f"{XHTML}script", f"{XHTML}img")]


NO_XML = """# A&#12;b

## C&#12;d \x0b

Text&#12; `code\x01` [link](https://example.org/?a&#12;b "title&#12;") ![picture](https://example.org/p&#12;)

```py&#12;x
\x0c
```

| a&#12; |
| --- |
| b&#12; |
"""


def test_characters_that_xml_can_not_hold_are_left_out_also_when_they_come_as_entities() -> None:
    with opened(NO_XML, fallback_title="e\x0c") as file:
        for name in file.namelist():
            if name.endswith(("html", "opf", "xml")):
                ElementTree.fromstring(file.read(name))
        assert "Text code link picture" in words_of(file, "EPUB/chapter-0001.xhtml")
    assert Document(io.BytesIO(convert(source(NO_XML), Form.DOCX))).paragraphs
    assert "\x0c" not in convert(source(NO_XML), Form.HTML).decode()


def test_a_text_becomes_title_chapters_and_front_matter() -> None:
    book = read(source())
    assert (book.title, book.level) == ("A book of tea & rain", 2)
    assert [chapter.title for chapter in book.chapters] == [
        "A book of tea & rain",  # what stands before the first chapter
        "The first <cup>",
        "The second",
    ]


@pytest.mark.parametrize(
    ("text", "title", "chapters"),
    [
        ("", "Engine", ["Engine"]),
        ("Only text.", "Engine", ["Engine"]),
        ("# One\n\na\n\n# Two\n\nb", "Engine", ["One", "Two"]),
        ("# Title alone\n\ntext", "Title alone", ["Title alone"]),
        ("### Deep\n\n## Higher", "Engine", ["Engine", "Higher"]),
        ("text\n\n# Late\n\n```\n# no heading\n```", "Engine", ["Engine", "Late"]),
        ("# T\n\n## \n\na", "T", ["…"]),
    ],
)
def test_chapters_are_the_highest_headings_below_the_title(
    text: str, title: str, chapters: list[str]
) -> None:
    book = read(source(text))
    assert (book.title, [chapter.title for chapter in book.chapters]) == (title, chapters)


def test_an_epub_has_what_its_format_asks_for() -> None:
    with opened() as file:
        assert file.testzip() is None
        first = file.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert file.read("mimetype") == b"application/epub+zip"
        container = ElementTree.fromstring(file.read("META-INF/container.xml"))
        package_name = next(
            element.get("full-path") for element in container.iter() if element.get("full-path")
        )
        package = ElementTree.fromstring(file.read(package_name or ""))
        assert package.findtext(f".//{DC}title") == "A book of tea & rain"
        assert package.findtext(f".//{DC}creator") == "Ada <b>"
        assert package.findtext(f".//{DC}language") == "en-GB"
        assert package.findtext(f".//{DC}identifier", "").startswith("urn:uuid:")
        items = {item.get("id"): item.get("href") for item in package.iter(f"{OPF}item")}
        assert {f"EPUB/{href}" for href in items.values()} | {
            "mimetype",
            "META-INF/container.xml",
            package_name,
        } == set(file.namelist())
        spine = [items[ref.get("idref")] for ref in package.iter(f"{OPF}itemref")]
        contents = ElementTree.fromstring(file.read("EPUB/contents.xhtml"))
        listed = [(link.get("href"), link.text) for link in contents.iter(f"{XHTML}a")]
        assert spine == ["title.xhtml", "contents.xhtml", *(href for href, _ in listed)]
        assert [text for _, text in listed] == ["A book of tea & rain", "The first <cup>", "The second"]
        assert words_of(file, "EPUB/chapter-0003.xhtml") == "The second The second a link a picture gone"


def test_a_text_that_xml_can_not_hold_still_opens() -> None:
    with opened("# A\x00b\x0b\n\n\x1b[0m &#0; &nbsp; \ufffe 🍵") as file:
        assert "🍵" in words_of(file, "EPUB/chapter-0001.xhtml")
    Document(io.BytesIO(convert(source("a\x00\x0b &#11; b"), Form.DOCX)))


def test_a_docx_has_real_styles_and_all_the_text() -> None:
    document = Document(io.BytesIO(convert(source(), Form.DOCX)))
    found = [(part.style.name if part.style else "", part.text) for part in document.paragraphs]
    assert found == [
        ("Title", "A book of tea & rain"),
        ("Subtitle", "Ada <b>"),
        ("Normal", "To whom it may concern."),
        ("Heading 1", "The first <cup>"),
        ("Normal", "Water boils; leaf by leaf.\nA new line."),
        ("Heading 2", "On kettles"),
        ("List Bullet", "iron"),
        ("List Number 2", "heavy"),
        ("List Number 2", "slow"),
        ("List Bullet", "tin"),
        ("List Number", "three"),
        ("List Number", "four"),
        ("Quote", "Said by nobody."),
        ("Normal", "if a < b:\n    pour()"),
        ("Normal", "* * *"),
        ("Heading 1", "The second"),
        ("Normal", "a link a picture gone"),
    ]
    assert [[cell.text for cell in row.cells] for row in document.tables[0].rows] == [
        ["pot", "price"],
        ["red", "3"],
    ]
    about = document.core_properties
    assert (about.title, about.author, about.language) == ("A book of tea & rain", "Ada <b>", "en-GB")
    links = [link.address for part in document.paragraphs for link in part.hyperlinks]
    assert links == ["https://example.org/?a=1&b=2", "https://example.org/p.png"]


def test_every_list_of_a_docx_counts_for_itself() -> None:
    document = Document(io.BytesIO(convert(source("1. a\n2. b\n\ntext\n\n7. c\n"), Form.DOCX)))
    # python-docx makes the children of an element at run time, and its types do not know them
    items: list[Any] = [part._p for part in document.paragraphs if part.text in ("a", "b", "c")]
    numberings = [item.pPr.numPr.numId.val for item in items]
    assert numberings[0] == numberings[1] != numberings[2]


@pytest.mark.parametrize("form", [Form.HTML, Form.EPUB, Form.DOCX])
def test_a_partial_text_says_so(form: BookForm) -> None:
    made = convert(source(note="It was stopped."), form)
    match form:
        case Form.HTML:
            assert b"It was stopped." in made
        case Form.EPUB:
            with zipfile.ZipFile(io.BytesIO(made)) as file:
                assert "It was stopped." in words_of(file, "EPUB/title.xhtml")
        case _:
            assert "It was stopped." in [part.text for part in Document(io.BytesIO(made)).paragraphs]


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("German", "de"),
        ("de-AT", "de-AT"),
        ("नेपाली", "ne"),
        (" FRENCH ", "fr"),
        ("Quenya", "und"),
        (3, "und"),
        ("to", "und"),
    ],
)
def test_the_language_is_a_tag_that_readers_know(given: object, tag: str) -> None:
    assert language_of({"language": given}) == tag


@pytest.mark.parametrize(
    ("title", "partial", "name"),
    [
        ("A walk", False, "A walk.epub"),
        ("A walk", True, "A walk-partial.epub"),
        ('../../etc/passwd "x" <y>?', False, "etc passwd x y.epub"),
        ("\u202egpj.exe\x00\n", False, "gpj.exe.epub"),
        ("", True, "output-partial.epub"),
        ("...", False, "output.epub"),
        ("CON", False, "CON-output.epub"),
        ("नदीहरूको पुस्तक", False, "नदीहरूको पुस्तक.epub"),
        ("x" * 500, False, "x" * 80 + ".epub"),
    ],
)
def test_a_file_name_fits_every_file_system(title: str, partial: bool, name: str) -> None:
    assert file_name(title, "epub", partial=partial) == name


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("A walk.md", 'attachment; filename="A walk.md"'),
        ("Café.md", "attachment; filename=\"Cafe.md\"; filename*=UTF-8''Caf%C3%A9.md"),
        (
            "茶-partial.md",
            "attachment; filename=\"output-partial.md\"; filename*=UTF-8''%E8%8C%B6-partial.md",
        ),
        ("50%.md", "attachment; filename=\"50_.md\"; filename*=UTF-8''50%25.md"),
    ],
)
def test_the_header_carries_any_name(name: str, header: str) -> None:
    assert attachment(name) == header
    header.encode("latin-1")


def test_a_name_comes_from_the_first_heading() -> None:
    assert title_of("\n## The *end*\n\ntext", "Engine") == "The end"
    assert title_of("#hashtag\n# Later", "Engine") == "Engine"
