"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable
from typing import Final

MAX_SUGGESTIONS: Final = 3
"""Maximum names that an error suggests."""

MAX_QUOTED: Final = 64
"""Maximum characters of a user's text that an error repeats, and that are compared with names."""

_MIN_SIMILARITY: Final = 0.75
"""Minimum similarity of a suggestion, as difflib's ratio."""


def quote(text: str) -> str:
    """Return a text as its repr, cut so that it has at most ``MAX_QUOTED`` characters in its quotes."""
    text = text[:MAX_QUOTED]
    while len(quoted := repr(text)) > MAX_QUOTED + len("''"):
        text = text[:-1]
    return quoted


def close_names(text: str, names: Iterable[str], limit: int = MAX_SUGGESTIONS) -> list[str]:
    """Return the names whose spelling is closest to a text, closest first."""
    return difflib.get_close_matches(text[:MAX_QUOTED], list(names), limit, _MIN_SIMILARITY)
