"""The folder of what people searched for and clicked, as the server writes it; there may be none."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.feedback.events import Kind, file_name


@dataclass(frozen=True, slots=True)
class FeedbackSource:
    """A folder or prefix that may hold files of searches and of clicks."""

    url: str

    def exists(self) -> bool:
        """Tell whether there is such a folder."""
        filesystem, root = open_root(self.url)
        return bool(filesystem.isdir(root))

    def lines(self, kind: Kind) -> Iterator[bytes]:
        """Read the lines of all files of a kind, the oldest file first; none where there is no folder."""
        filesystem, root = open_root(self.url)
        if not filesystem.isdir(root):
            return
        for path in sorted(filesystem.ls(root, detail=False)):
            if fnmatchcase(path.rpartition("/")[2], file_name(kind, "*")):
                with filesystem.open(path, "rb") as file:
                    yield from file
