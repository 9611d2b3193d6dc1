"""Folders of checkpoints in the lake."""

from typing import Self

from fb_marketplace_serving.storage.lake import Lake


class CheckpointDir(Lake):
    """A folder of files that are written atomically. It need not exist."""

    def under(self, name: str) -> Self:
        """Return a folder in this folder."""
        return type(self)(self.name(name))

    def names(self) -> list[str]:
        """Return the sorted names of the files, without those that a killed process was writing."""
        return sorted(
            name for name in self.sizes() if not name.startswith(".") and not name.endswith(".part")
        )

    def write(self, name: str, content: bytes) -> None:
        """Write a file, new or over an existing one."""
        self.replace(name, content)
