"""A file of the lake that is passed on as it is: an encoder, an index, a table for the server."""

from dataclasses import dataclass

from fb_marketplace.storage import open_root


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Where a file is; nothing is read until asked."""

    url: str

    def read(self) -> bytes:
        """Read the whole file."""
        filesystem, path = open_root(self.url)
        return bytes(filesystem.cat_file(path))
