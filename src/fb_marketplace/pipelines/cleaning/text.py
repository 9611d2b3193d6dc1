"""What people typed, as text that can be compared: what it means is kept, what it breaks is dropped."""

import re
import unicodedata
from typing import Final

_LINE_ENDS: Final = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_BLANK_LINES: Final = re.compile(r"\s*\n\s*")
_STYLED: Final = re.compile(
    # Mathematical alphanumerics and full-width forms: ordinary letters in fancy dress.
    r"[\U0001d400-\U0001d7ff\uff01-\uff5e\ufb00-\ufb06]"
)
_KEPT_FORMATS: Final = frozenset("\u200d\ufe0e\ufe0f")  # what joins an emoji's parts
_FLAG_TAGS: Final = range(0xE0020, 0xE0080)  # what spells the flags of Scotland, Wales and England


def normalize(text: str) -> str:
    """Normalise text that a person typed.

    Unicode to NFC (UAX #15); letters in fancy dress to plain ones; every kind of line end to a newline
    and every kind of space to a space, runs of them to one; control characters, zero-width marks, lone
    surrogates and replacement characters dropped. Accents, currency signs, fractions, quotes and
    emoji stay.
    """
    text = _STYLED.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    text = "".join(character for character in text if _means_something(character))
    # Composed and collapsed only now: what was dropped may have stood between.
    text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def normalize_line(text: str) -> str:
    """Normalise text that stands on one line, such as a title."""
    return " ".join(normalize(text).split())


def casefold_text(text: str) -> str:
    """Reduce text to what tells whether two people wrote the same: letters and digits, in one case."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _means_something(character: str) -> bool:
    if character == "\n" or character in _KEPT_FORMATS or ord(character) in _FLAG_TAGS:
        return True
    return character != "\ufffd" and unicodedata.category(character) not in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
    )
