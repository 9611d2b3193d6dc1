"""A file of the lake that is passed on as it is: an encoder, an index, a table for the server."""

from dataclasses import dataclass
from typing import NamedTuple

from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class FileRef:
    """Where a file is; nothing is read until asked."""

    url: str

    def read(self) -> bytes:
        """Read the whole file."""
        filesystem, path = open_root(self.url)
        return bytes(filesystem.cat_file(path))


class ContentAddressedFile(NamedTuple):
    """A file that is named by the digest of its bytes."""

    name: str
    data: bytes


def existing_sizes(url: str) -> dict[str, int]:
    """Give the bytes of each file that a folder holds now, by name; none if there is no folder yet."""
    return Lake(url).sizes()
