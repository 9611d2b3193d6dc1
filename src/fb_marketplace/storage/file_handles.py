"""References to files of the lake, such as an encoder or an index. Nodes pass them on without reading."""

from dataclasses import dataclass
from typing import NamedTuple

from fb_marketplace_serving.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class FileRef:
    """Reference to a file by its URL."""

    url: str

    def read(self) -> bytes:
        """Read the file."""
        # The whole URL is the root: an https:// or chained URL has no folder to open.
        file = Lake(self.url)
        return bytes(file.filesystem.cat_file(file.root))


class ContentAddressedFile(NamedTuple):
    """A file that is named by the digest of its content."""

    name: str
    data: bytes


def existing_sizes(url: str) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by name; empty if there is no folder."""
    return Lake(url).sizes()
