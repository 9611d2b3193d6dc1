"""Tokenizer: splits documents and queries into terms by the same rules."""

import re
import threading
import unicodedata
from typing import Any, Final

VERSION: Final = 1
"""Version of the rules. Increase it if the same text gives other terms: older indexes would not match."""

_WORD: Final = re.compile(r"[^\W_]+")

_PLAIN_LETTERS: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"}
)
"""Letters that Unicode does not decompose into a plain letter and an accent."""

_local = threading.local()


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case and without accents: letters and digits of any script."""
    if text.isascii():
        return _WORD.findall(text.lower())
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_PLAIN_LETTERS)
    return _WORD.findall("".join(sign for sign in folded if not unicodedata.combining(sign)))


def terms(text: str) -> list[str]:
    """Return the stems of a text's words, in order (Porter's English stemmer, 2001; Snowball)."""
    stems: list[str] = _stemmer().stemWords(words(text))
    return stems


def _stemmer() -> Any:
    """Return this thread's stemmer. It has a cache, so threads must not share one."""
    if not hasattr(_local, "stemmer"):
        import Stemmer

        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer
