"""References to files of the lake, such as an encoder or an index. Nodes pass them on without reading."""

from dataclasses import dataclass
from typing import NamedTuple

from fb_marketplace.storage.fingerprints import sha256
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

    def pinned(self) -> "PinnedFile":
        """Return a reference to the present content of the file."""
        return PinnedFile(self.url, sha256(self.read()))


@dataclass(frozen=True, slots=True)
class PinnedFile(FileRef):
    """Reference to one content of a file."""

    sha256: str

    def read(self) -> bytes:
        """Read the file.

        Raises:
            ValueError: the file has other content.
        """
        content = FileRef(self.url).read()
        digest = sha256(content)
        if digest != self.sha256:
            raise ValueError(
                f"{self.url} has sha256 {digest[:12]}…; expected {self.sha256[:12]}…: it changed during "
                "the run. Rerun `kedro run`."
            )
        return content


class ContentAddressedFile(NamedTuple):
    """A file that is named by the digest of its content."""

    name: str
    data: bytes


def existing_sizes(url: str) -> dict[str, int]:
    """Return the size in bytes of each file in a folder, by name; empty if there is no folder."""
    return Lake(url).sizes()
