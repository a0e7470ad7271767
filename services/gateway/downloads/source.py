"""What a file is made of: the text with what is said about it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_FIELD = 300
UNKNOWN_LANGUAGE = "und"
"""As BCP 47 says it."""

# Names that people write into an input, in English and as they call it themselves.
_LANGUAGES = {
    "ar": "arabic العربية",
    "bn": "bengali bangla বাংলা",
    "cs": "czech čeština",
    "da": "danish dansk",
    "de": "german deutsch",
    "el": "greek ελληνικά",
    "en": "english",
    "es": "spanish español castellano",
    "fa": "persian farsi فارسی",
    "fi": "finnish suomi",
    "fr": "french français",
    "he": "hebrew עברית",
    "hi": "hindi हिन्दी हिंदी",
    "hu": "hungarian magyar",
    "id": "indonesian indonesia",
    "it": "italian italiano",
    "ja": "japanese 日本語",
    "ko": "korean 한국어",
    "mr": "marathi मराठी",
    "ne": "nepali नेपाली",
    "nl": "dutch nederlands",
    "no": "norwegian norsk",
    "pa": "punjabi ਪੰਜਾਬੀ",
    "pl": "polish polski",
    "pt": "portuguese português",
    "ro": "romanian română",
    "ru": "russian русский",
    "sv": "swedish svenska",
    "sw": "swahili kiswahili",
    "ta": "tamil தமிழ்",
    "te": "telugu తెలుగు",
    "th": "thai ไทย",
    "tr": "turkish türkçe",
    "uk": "ukrainian українська",
    "ur": "urdu اردو",
    "vi": "vietnamese",
    "zh": "chinese mandarin 中文",
}
_BY_NAME = {name: tag for tag, names in _LANGUAGES.items() for name in (tag, *names.split())}
_TAG = re.compile(r"(?P<language>[A-Za-z]{2})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|\d{3}))?")
# What XML 1.0 can not hold, not even escaped.
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`text` is Markdown. `fallback_title` is used when the text has no title of its own; `note` stands before the text
    and says that it is partial.
    """

    id: str
    text: str
    fallback_title: str
    author: str | None
    language: str
    """A BCP 47 tag."""
    note: str | None
    written: datetime
    """In UTC."""


def clean(text: str) -> str:
    """Without the characters that a file of XML can not hold."""
    return _NO_XML.sub("", text)


def language_of(inputs: Mapping[str, Any]) -> str:
    """The tag of what was given as input `language`: a tag, or the name of a language; `und` for anything else."""
    given = inputs.get("language")
    if not isinstance(given, str):
        return UNKNOWN_LANGUAGE
    name = given.strip()
    tag = _TAG.fullmatch(name)
    if tag is not None and tag["language"].lower() in _LANGUAGES:
        return name
    return _BY_NAME.get(name.lower(), UNKNOWN_LANGUAGE)


def author_of(inputs: Mapping[str, Any]) -> str | None:
    """What was given as input `author`."""
    given = inputs.get("author")
    return one_line(given) or None if isinstance(given, str) else None


def one_line(text: str) -> str:
    return " ".join(clean(text).split())[:MAX_FIELD].strip()
