"""Category paths and locations: from how they are written to their parts."""

from typing import NamedTuple

from fb_marketplace.pipelines.cleaning import text


class Location(NamedTuple):
    """Where a listing is offered; None for a part that is not told."""

    town: str | None
    county: str | None


def category_levels(path: str, separator: str) -> tuple[str, ...]:
    """Give the levels of a category path, the root first; none of a path that names nothing.

    The separator is told by its sign: spaces around it, and signs with nothing between, say nothing. The
    levels, joined by it, give the same levels again.
    """
    # Normalised before it is cut: a sign in fancy dress becomes a plain one.
    parts = text.normalize_line(path).split(separator.strip() or separator)
    return tuple(level for part in parts if (level := text.normalize_line(part)))


def parse_location(written: str, separator: str) -> Location:
    """Part a location at its last separator into town and county; a lone name is a town."""
    before, found, after = text.normalize_line(written).rpartition(separator)
    town, county = (before, after) if found else (after, "")
    return Location(town.strip() or None, county.strip() or None)
