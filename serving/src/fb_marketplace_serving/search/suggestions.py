"""Suggestions for misspelled names."""

import difflib
from collections.abc import Iterable
from typing import Final

MAX_SUGGESTIONS: Final = 3
"""Names that an error proposes."""

MAX_QUOTED: Final = 64
"""Characters of a user's text that an error repeats, and that names are compared with."""

_MIN_SIMILARITY: Final = 0.75
"""As difflib's ratio."""


def close_names(text: str, names: Iterable[str], limit: int = MAX_SUGGESTIONS) -> list[str]:
    """Return the names whose spelling is closest to a text, closest first."""
    return difflib.get_close_matches(text[:MAX_QUOTED], list(names), limit, _MIN_SIMILARITY)
