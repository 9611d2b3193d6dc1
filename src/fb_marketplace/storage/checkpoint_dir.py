"""Folders of checkpoints in the lake."""

from typing import Self

from fb_marketplace_serving.storage.lake import Lake


class CheckpointDir(Lake):
    """A folder of files that are written atomically. It need not exist."""

    def under(self, name: str) -> Self:
        """Return a subfolder."""
        return type(self)(self.name(name))

    def names(self) -> list[str]:
        """Return the sorted names of the files, without temporary files of killed writers."""
        return sorted(
            name for name in self.sizes() if not name.startswith(".") and not name.endswith(".part")
        )

    def write(self, name: str, content: bytes) -> None:
        """Write a file, new or over an existing one."""
        self.replace(name, content)
