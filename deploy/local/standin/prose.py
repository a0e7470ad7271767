"""Plain English made from patterns; the same seed gives the same text."""

import re
from random import Random

from deploy.local.standin.subject import Subject, Work

_OPENINGS = (
    "Few things reward a patient look as much as {topic}.",
    "Anyone who has spent a morning with {topic} knows how quickly the hours pass.",
    "As always with {topic}, it begins quietly.",
    "There is a simple way into {topic} — start with what can be seen from the door.",
    "Ask three people about {topic} and you will hear four stories.",
    "The first thing to say about {topic} is that none of it began with us.",
)
_TITLED_OPENINGS = (
    "“{title}” is a good name for what follows, since all of it comes back to {topic}.",
    "Under the heading “{title}” belongs a part of {topic} that is easily passed over.",
    "{title}: the words sound plain, and yet they hold a good deal of {topic}.",
    "When people speak of {topic}, they sooner or later reach this point: {title}.",
)
_MIDDLES = (
    "Much depends on the {word} here, more than one would think before evening.",
    "Old notebooks mention the {word} again and again, usually with a small drawing in the margin.",
    "Nobody hurried; every question about the {word} was raised, set down, and raised once more.",
    "In the café near the station they still argue about the {word}, and nobody minds.",
    "What looks like luck turns out to be practice, repeated on ordinary days.",
    "A careful hand, a dry cloth and a little knowledge of {topic} go a long way.",
    "It would be naïve to think of {topic} without the {other}.",
    "Some begin with the {word}; others say nothing and simply carry on.",
    "By noon the light had changed, and with it the whole idea of {topic}.",
    "The older ones taught by showing — the {word} first, the reasons later.",
    "Each spring brings the same question: how far should one go for the {word}?",
    "One learns to listen for the {word}, then to leave well alone.",
    "There were setbacks, of course, and most of them had to do with the {word}.",
    "A short walk is enough to see what binds the {word} and the {other} together.",
    "Between the {word} and the {other} lies most of the work.",
    "Whoever wants to understand {topic} should begin with the {word}, not with the {other}.",
    "Leave the {other} for later; look after the {word} now.",
    "Somebody had written “think of the {word}, forget the {other}” on the wall, and it was left there.",
    "Rain came and went, and still the talk returned to the {word}.",
    "Two visitors asked about the {word} and stayed until dark.",
    "It helps to keep a list: the {word} at the top, the {other} at the bottom, and room between them.",
)
_CLOSINGS = (
    "That is the whole secret of {topic}, as far as there is one.",
    "Tomorrow it all needs attention again, and that is as it should be.",
    "What remains is a clear table, and enough time to begin anew.",
    "So the day ends where it began, a little wiser about {topic}.",
    "And so it goes on, with or without an audience. 🙂",
)
_HEADINGS = (
    "A way into {topic}",
    "The {word} and the {other}",
    "A closer look at the {word}",
    "What we owe to {topic}",
    "Mornings with {topic}",
    "The long way round",
    "Learning from the {word}",
    "What stays",
    "Tools, habits and the {word}",
    "Looking ahead",
)
_PLAIN_WORDS = ("weather", "silence", "season", "evening", "distance", "light", "clock", "street")
_SMALL_WORD = re.compile(r"(?:the|an?|my|our|how|what|why|when|where)\b", re.IGNORECASE)
_SENTENCES_PER_PARAGRAPH = (3, 5)
_LONGEST_ASKED = 400  # words; a longer text has to be asked for by option


def write(subject: Subject, seed: int, words: int | None = None) -> str:
    """Text for a subject: exactly `words` words, or full sentences of about the length asked for.

    A text to edit or translate comes back whole unless `words` is given.
    """
    rng = Random(seed)  # noqa: S311 - answers must be repeatable, not secret
    if subject.work is not Work.WRITE:
        body = _edited(subject.body) if subject.work is Work.EDIT else _translated(subject)
        return body if words is None else _cut(_extended(body, subject, rng, words), words)
    length = words or min(subject.length or rng.randint(45, 70), _LONGEST_ASKED)
    paragraphs = _extended("", subject, rng, length)
    return "\n\n".join(paragraphs) if words is None else _cut(paragraphs, words)


def heading(subject: Subject, rng: Random, index: int) -> str:
    """A title; each index has another."""
    text = _capital(_fill(_HEADINGS[index % len(_HEADINGS)], subject, rng))
    return text if index < len(_HEADINGS) else f"{text} ({index + 1})"


def sentence(subject: Subject, rng: Random) -> str:
    return _capital(_fill(rng.choice(_MIDDLES), subject, rng))


def _extended(start: str, subject: Subject, rng: Random, words: int) -> list[str]:
    """Paragraphs of full sentences, at least `words` words in all."""
    paragraphs = start.split("\n\n") if start else []
    missing = words - len(start.split())
    deck: list[str] = []
    first = not paragraphs
    while missing > 0:
        sentences: list[str] = []
        for number in range(rng.randint(*_SENTENCES_PER_PARAGRAPH)):
            deck = deck or rng.sample(_MIDDLES, len(_MIDDLES))
            pattern = deck.pop()
            if first and number == 0:
                pattern = rng.choice(_TITLED_OPENINGS if subject.title else _OPENINGS)
            elif 0 < missing < 12:
                pattern = rng.choice(_CLOSINGS)
            sentences.append(_capital(_fill(pattern, subject, rng)))
            missing -= len(sentences[-1].split())
            if missing <= 0:
                break
        paragraphs.append(" ".join(sentences))
        first = False
    return paragraphs


def _fill(pattern: str, subject: Subject, rng: Random) -> str:
    word = rng.choice(subject.words)
    other = rng.choice([plain for plain in (*subject.words, *_PLAIN_WORDS) if plain != word])
    # Not str.format: a topic may contain braces.
    text = pattern.replace("{title}", subject.title or subject.topic)
    return text.replace("{topic}", _inside(subject.topic)).replace("{word}", word).replace("{other}", other)


def _inside(topic: str) -> str:
    """As it reads within a sentence; a first word that may be a name keeps its capital."""
    return topic[:1].lower() + topic[1:] if _SMALL_WORD.match(topic) else topic


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _cut(paragraphs: list[str], words: int) -> str:
    """The first `words` words, ending like a sentence."""
    kept: list[str] = []
    for paragraph in paragraphs:
        tokens = paragraph.split()[:words]
        words -= len(tokens)
        if tokens:
            kept.append(" ".join(tokens))
    if words == 0 and kept and kept[-1][-1] not in ".!?🙂":
        kept[-1] = kept[-1].rstrip(",;:—” ") + "."
    return "\n\n".join(kept)


def _edited(body: str) -> str:
    """The same text with the one change that an editor can make blindly: clean white space."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in body.split("\n\n"))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _translated(subject: Subject) -> str:
    """Not a translation: every paragraph is marked with the language that was asked for."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in subject.body.split("\n\n"))
    return "\n\n".join(f"[{subject.language}] {paragraph}" for paragraph in paragraphs if paragraph)
