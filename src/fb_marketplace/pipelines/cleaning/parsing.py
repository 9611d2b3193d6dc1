"""Parsing of category paths and locations."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import dropwhile
from typing import NamedTuple

from fb_marketplace.pipelines.cleaning import text


class Location(NamedTuple):
    """Location of a listing; a missing part is None."""

    town: str | None
    county: str | None


def unify_spelling(paths: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Give paths that differ only by case the same spelling at each level: the most frequent one."""
    spellings: dict[tuple[str, ...], Counter[str]] = {}
    for path in paths:
        for depth, level in enumerate(path, start=1):
            key = tuple(name.casefold() for name in path[:depth])
            spellings.setdefault(key, Counter())[level] += 1
    chosen = {
        key: min(counts, key=lambda level: (-counts[level], level))
        for key, counts in spellings.items()
    }
    return [
        tuple(
            chosen[tuple(name.casefold() for name in path[:depth])]
            for depth in range(1, len(path) + 1)
        )
        for path in paths
    ]


def category_levels(path: str, separator: str) -> tuple[str, ...]:
    """Return the levels of a category path, root first; empty if the path has no text.

    Spaces around the separator and empty levels are ignored. If the levels are joined with the separator
    and parsed again, the result is the same.
    """
    # Normalize before splitting: a full-width separator becomes a plain one.
    parts = text.normalize_line(path).split(separator.strip() or separator)
    return tuple(level for part in parts if (level := _normalize_level(part)))


def _normalize_level(part: str) -> str:
    """Return a level without leading spaces and combining marks, which would change a joined separator."""
    return "".join(dropwhile(_is_mark_or_space, text.normalize_line(part))).rstrip()


def _is_mark_or_space(sign: str) -> bool:
    return sign.isspace() or unicodedata.combining(sign) > 0


def parse_location(location: str, separator: str) -> Location:
    """Split a location at its last separator into town and county; a single name is a town."""
    before, match, after = text.normalize_line(location).rpartition(separator)
    town, county = (before, after) if match else (after, "")
    return Location(town.strip() or None, county.strip() or None)
