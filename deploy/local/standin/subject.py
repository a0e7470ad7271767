"""Finds out what a prompt is about, well enough for a text that seems to follow it."""

import re
from dataclasses import dataclass
from enum import StrEnum

_TITLE_QUOTED = re.compile(
    r"\b(?:titled?|entitled|called|named|article|chapter|part|section|heading)\b[^\"“«\n]{0,20}[\"“«]([^\"”»\n]{2,120})[\"”»]",
    re.IGNORECASE,
)
_TITLE_PLAIN = re.compile(
    r"\b(?:titled|entitled|called|named|(?:chapter|part|section|title|heading)(?:\s+\d+)?\s*:)\s+"
    r"([^.,:;\"“”\n]{2,120}?)(?=\s+(?:about|on|for|in|of the book)\b|[.,:;\n\"“”]|$)",
    re.IGNORECASE,
)
# Both look ahead for the topic, so that a match that turns out to be none does not hide the next one.
_TOPIC_TOLD = re.compile(
    r"(?:\b(?:topic|subject|theme)|[\"”»],? (?:on|about)|"
    r"\b(?:book|text|article|essay|story|poem|report|note|chapter)s? (?:on|about))\s*:[ \t]*[\"“«]?(?=([^\n]{2,160}))",
    re.IGNORECASE,
)
_TOLD_END = re.compile(r"[.!?](?:\s|$)|[;\"“”»]|,?\s+in (?:about|at most|exactly|under|\d)")
_TOPIC = re.compile(
    r"(?:\b(?:about|(?:on )?th(?:e|is) (?:topic|subject|theme)(?: of)?|regarding|concerning|"
    r"(?:book|text|article|essay|story|poem|report|note|chapter|words|outline)s? on)|[\"”»],? on)[\s:]+"
    r"[\"“«]?(?=([^.,:;\n\"“”»?!()]{2,160}))",
    re.IGNORECASE,
)
_TOPIC_END = re.compile(
    r"\s+(?:with|that|which|for|in (?:about|at most|exactly|under|\d)|as|using|and (?:give|write|list|keep))\b",
    re.IGNORECASE,
)
_NOT_A_TOPIC = re.compile(
    r"^(?:\d|(?:about|on)\b|an? (?:hundred|dozen)\b|(?:at most|exactly|under) \d|"
    r"th(?:is|ese) (?:topic|subject|theme|book|chapter|text|article)s?\b|"
    r"the (?:topic|subject|theme|book|chapter|text|article)s?$|(?:this|that|it)$)",
    re.IGNORECASE,
)
_TRANSLATE = re.compile(
    r"\btranslat\w+\b(?:.{0,200}?\b(?:in)?to\s+([^\W\d_]{3,20}))?", re.IGNORECASE | re.DOTALL
)
_EDIT = re.compile(r"\b(?:edit|revise|polish|proofread|copy-?edit|improve|rewrite|tidy)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}(?:[-'’][^\W\d_]+)*")
_LENGTH = re.compile(r"\b(\d{1,5})(?:\s*(?:-|–|to)\s*(\d{1,5}))?[\s-]+words?\b", re.IGNORECASE)
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """about above after again against already also always among another article around because been before
    being below between book both chapter chapters clear could does doing down during each essay every following
    from give given have having here into itself just keep language like list long make many more most much must
    name named need only other over paragraph paragraphs part parts plain plan please short should some story
    subject such summary text than that their them then there these they this those three through title titled
    titles topic translate under until using very want were what when where which while whole will with without
    word words write writer writing would your five four outline edit editor give answer reader readers english
    small little large great good better best long short young early late high made makes making
    sentence sentences section sections each call called entitled draft style tone""",
    )
)


class Work(StrEnum):
    WRITE = "write"
    EDIT = "edit"
    TRANSLATE = "translate"


@dataclass(frozen=True, slots=True)
class Subject:
    """`words` are never none; `body` is the text to edit or translate; `length` the number of words asked for."""

    work: Work
    topic: str
    title: str | None
    words: tuple[str, ...]
    body: str
    language: str
    length: int | None


def find(prompt: str) -> Subject:
    """Reads a prompt without marks. Always finds something: the topic is never empty."""
    instruction, body = _divide(prompt)
    title = _title(prompt[:2000]) or _title(prompt[-500:])
    work, language = _work(instruction, body)
    topic = _topic(prompt[:2000] if work is Work.WRITE else instruction) or title or _short(body)
    words = _keywords(topic or "") or _keywords(title or "") or _keywords(instruction) or ("things",)
    return Subject(
        work=work,
        topic=topic or (" ".join(words[:2]) if words != ("things",) else "small things"),
        title=title,
        words=words,
        body=body,
        language=language,
        length=_length(prompt[:2000]),
    )


def _divide(prompt: str) -> tuple[str, str]:
    """The instruction, and the text that it is about, after an empty line or a colon at a line's end."""
    found = re.search(r":[ \t]*\n|\n[ \t]*\n", prompt)
    if found is None:
        head, colon, rest = prompt.partition(": ")
        return (prompt, rest.strip()) if colon and len(head) < 200 else (prompt, "")
    head, rest = prompt[: found.start()], prompt[found.end() :].strip()
    return (head, rest) if len(rest.split()) > 20 else (prompt.strip(), rest)


def _work(instruction: str, body: str) -> tuple[Work, str]:
    translation = _TRANSLATE.search(instruction)
    if translation and body:
        return Work.TRANSLATE, (translation[1] or "translated").capitalize()
    if _EDIT.search(instruction[:200]) and len(body.split()) > 20:
        return Work.EDIT, ""
    return Work.WRITE, ""


def _short(text: str) -> str | None:
    """A text that is short enough to be a topic itself."""
    line = text.strip().strip('"“”.').strip()
    return line if line and "\n" not in line and len(line.split()) <= 12 else None


def _title(text: str) -> str | None:
    found = _TITLE_QUOTED.search(text) or _TITLE_PLAIN.search(text)
    return found[1].strip() if found else None


def _topic(text: str) -> str | None:
    for pattern, end in ((_TOPIC_TOLD, _TOLD_END), (_TOPIC, _TOPIC_END)):
        for found in pattern.finditer(text):
            topic = end.split(found[1], maxsplit=1)[0].strip(" '’‘,")
            if topic and not _NOT_A_TOPIC.match(topic):
                return topic
    return None


def _keywords(text: str) -> tuple[str, ...]:
    """Up to eight words worth repeating, in the order in which they come."""
    found: dict[str, None] = {}
    for word in _WORD.findall(text[:4000]):
        lower = word.lower()
        if lower not in _STOP_WORDS and not _EDIT.fullmatch(lower):
            found.setdefault(lower)
    return tuple(found)[:8]


def _length(text: str) -> int | None:
    found = _LENGTH.search(text)
    return int(found[2] or found[1]) if found else None
