"""Files named by what they hold: written once, shared by all that hold the same."""

from typing import NamedTuple

from fb_marketplace_serving.lake import Lake


class ContentFile(NamedTuple):
    """A file that is named by the digest of its bytes."""

    name: str
    data: bytes


def held_sizes(url: str) -> dict[str, int]:
    """Give the bytes of each file that a folder holds now, by name; none if there is no folder yet."""
    return Lake(url).sizes()
