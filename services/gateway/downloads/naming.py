"""The name of a downloaded file, and the header that carries it. Pure."""

import re
import unicodedata
from urllib.parse import quote

MAX_CHARACTERS = 80
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]+')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


def file_name(title: str, suffix: str, *, partial: bool) -> str:
    """From the title, fit for every file system: `A walk-partial.epub`."""
    words = " ".join(_NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", title)).split())
    stem = words[:MAX_CHARACTERS].strip(" .-")
    if not stem or _RESERVED.fullmatch(stem):
        stem = f"{stem}-output".lstrip("-")
    return f"{stem}{'-partial' if partial else ''}.{suffix}"


def attachment(name: str) -> str:
    """The value of Content-Disposition (RFC 6266), with the full name as RFC 5987 has it and a plain one beside it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r'[\\"%]', "_", plain)
    plain = plain if plain[0].isalnum() else f"output{plain.lstrip()}"
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
