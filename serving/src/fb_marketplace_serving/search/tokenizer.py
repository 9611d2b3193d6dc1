"""Text to the terms that a word search compares: the same for what is searched and for who asks."""

import re
import threading
import unicodedata
from typing import Any, Final

VERSION: Final = 1
"""Goes up when the same text would give other terms: an index of others finds nothing by them."""

_WORD: Final = re.compile(r"[^\W_]+")

_WHOLE: Final = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"}
)
"""Letters that are no plain letter and an accent to Unicode, as those without such keys write them."""

_here = threading.local()


def words(text: str) -> list[str]:
    """Cut a text into its words: lower case, without accents, of letters and digits of any script."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_WHOLE)
    return _WORD.findall("".join(sign for sign in folded if not unicodedata.combining(sign)))


def terms(text: str) -> list[str]:
    """Give the stems of a text's words, in order (Porter's English stemmer, 2001; by Snowball)."""
    stems: list[str] = _stemmer().stemWords(words(text))
    return stems


def _stemmer() -> Any:
    """Give this thread's stemmer: it keeps what it has stemmed, and may not be shared."""
    if not hasattr(_here, "stemmer"):
        import Stemmer

        _here.stemmer = Stemmer.Stemmer("english")
    return _here.stemmer
