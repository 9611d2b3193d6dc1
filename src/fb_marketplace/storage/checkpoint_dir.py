"""Where unfinished work is kept in the lake: files that appear whole or not at all."""

import contextlib
import os
from dataclasses import dataclass

from fb_marketplace.storage.filesystem import is_local, open_root


@dataclass(frozen=True, slots=True)
class CheckpointDir:
    """A folder of the lake, by its path or URL; it need not be there yet."""

    url: str

    def under(self, name: str) -> "CheckpointDir":
        """Give the folder of this name within."""
        return CheckpointDir(f"{self.url.rstrip('/')}/{name}")

    def names(self) -> list[str]:
        """Name the files that are there, sorted."""
        filesystem, path = open_root(self.url)
        if not filesystem.exists(path):
            return []
        found = filesystem.ls(path, detail=False)
        names = (name.rstrip("/").rpartition("/")[2] for name in found)
        return sorted(name for name in names if not name.endswith(".part"))

    def read(self, name: str) -> bytes:
        """Read a file."""
        filesystem, path = open_root(self.url)
        return bytes(filesystem.cat_file(f"{path}/{name}"))

    def write(self, name: str, content: bytes) -> None:
        """Write a file; one that is there is replaced at once."""
        filesystem, path = open_root(self.url)
        filesystem.makedirs(path, exist_ok=True)
        # An object appears when it is whole; a local file has to be moved into its place.
        part = f"{path}/{name}.{os.getpid()}.part"
        beside = part if is_local(self.url) else f"{path}/{name}"
        filesystem.pipe_file(beside, content)
        if is_local(self.url):
            filesystem.mv(beside, f"{path}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        filesystem, path = open_root(self.url)
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(f"{path}/{name}")
