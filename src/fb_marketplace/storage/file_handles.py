"""References to files of the lake, such as an encoder or an index. Nodes pass them on without reading."""

from dataclasses import dataclass
from typing import NamedTuple

from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import split


@dataclass(frozen=True, slots=True)
class FileRef:
    """Reference to a file by its URL."""

    url: str

    def read(self) -> bytes:
        """Read the file."""
        folder, name = split(self.url)
        return Lake(folder).read(name)


class ContentAddressedFile(NamedTuple):
    """A file that is named by the digest of its content."""

    name: str
    data: bytes


def existing_sizes(url: str) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by name; empty if there is no folder."""
    return Lake(url).sizes()
