"""Text with emphasis, code and links, as runs of a paragraph of DOCX. Pure."""

from docx.opc.constants import RELATIONSHIP_TYPE
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.text.paragraph import Paragraph
from docx.text.run import Run
from markdown_it.token import Token

MONOSPACE = "Courier New"
_MARKS = ("strong", "em", "s")


class Writer:
    """Appends to one paragraph."""

    def __init__(self, paragraph: Paragraph, *, bold: bool = False) -> None:
        self._paragraph = paragraph
        self._on = ["strong"] if bold else []
        self._link: str | None = None

    def write(self, inline: Token) -> None:
        for child in inline.children or ():
            self._one(child)

    def code(self, text: str) -> None:
        """Lines stay lines."""
        for number, line in enumerate(text.rstrip("\n").split("\n")):
            run = self._paragraph.add_run()
            if number:
                run.add_break()
            run.add_text(line)
            run.font.name = MONOSPACE

    def _one(self, token: Token) -> None:
        kind, _, way = token.type.rpartition("_")
        match token.type:
            case "text":
                self._run(token.content)
            case "code_inline":
                self._run(token.content).font.name = MONOSPACE
            case "softbreak":
                self._run(" ")
            case "hardbreak":
                self._run("").add_break()
            case "link_open":
                self._link = str(token.attrGet("href") or "")
            case "link_close":
                self._link = None
            case _ if kind in _MARKS:
                self._on.append(kind) if way == "open" else self._on.remove(kind)
            case _:
                self._run(token.content)

    def _run(self, text: str) -> Run:
        run = self._paragraph.add_run(text)
        for mark in self._on:
            match mark:
                case "strong":
                    run.bold = True
                case "em":
                    run.italic = True
                case _:
                    run.font.strike = True
        if self._link:
            run.font.underline = True
            self._into_link(run, self._link)
        return run

    def _into_link(self, run: Run, address: str) -> None:
        """python-docx reads links but does not make them."""
        link = OxmlElement("w:hyperlink")
        relation = self._paragraph.part.relate_to(address, RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
        link.set(qn("r:id"), relation)
        self._paragraph._p.append(link)  # noqa: SLF001 - the library's own way to its XML
        link.append(run._r)  # noqa: SLF001 - as above
