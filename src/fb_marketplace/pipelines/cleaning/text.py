"""Normalization of text that people typed."""

import html
import re
import unicodedata
from typing import Final

_LINE_ENDS: Final = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_BLANK_LINES: Final = re.compile(r"\s*\n\s*")
_STYLED: Final = re.compile(
    # Mathematical alphanumerics, full-width forms and ligatures: styled ordinary letters.
    r"[\U0001d400-\U0001d7ff\uff01-\uff5e\uffe0-\uffe2\uffe5\uffe6\ufb00-\ufb06]"
)
_AMPERSANDS: Final = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_EMOJI_FORMATS: Final = frozenset("\u200d\ufe0e\ufe0f")  # join the parts of an emoji
_FLAG_TAGS: Final = range(0xE0020, 0xE0080)  # spell the flags of Scotland, Wales and England


def normalize(text: str) -> str:
    """Return normalized text.

    Styled letters become plain ones. HTML entities are unescaped, also repeatedly escaped ones. Any line
    end becomes a newline, other whitespace becomes a space, and runs of either become one. Control, format
    (zero-width), private-use and unassigned characters, lone surrogates and replacement characters are
    dropped. Unicode becomes NFC (UAX #15). Accents, currency signs, fractions, quotes and emoji stay.
    """
    if text.isascii() and text.isprintable() and "&" not in text and "  " not in text:
        return text.strip()  # Most texts; the steps below would not change them.
    text = _STYLED.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    if "&" in text:
        text = html.unescape(_AMPERSANDS.sub("&", text))
    text = _SPACES.sub(" ", _LINE_ENDS.sub("\n", text))
    # Most texts have nothing to drop; a look at each character would take most of the time.
    if "\ufffd" in text or not text.replace("\n", "").isprintable():
        text = "".join(character for character in text if _is_visible(character))
    # Compose and collapse last: dropped characters may have separated others.
    text = unicodedata.normalize("NFC", text)
    return _BLANK_LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def normalize_line(text: str) -> str:
    """Return normalized text of one line, such as a title."""
    return " ".join(normalize(text).split())


def casefold_text(text: str) -> str:
    """Return the words of a text, case-folded and without punctuation, to compare texts."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def _is_visible(character: str) -> bool:
    if character == "\n" or character in _EMOJI_FORMATS or ord(character) in _FLAG_TAGS:
        return True
    return character != "\ufffd" and unicodedata.category(character) not in (
        "Cc",
        "Cf",
        "Cs",
        "Co",
        "Cn",
    )
