"""The folder of searches and clicks that the server writes."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from fb_marketplace_serving.feedback.events import Kind, file_name
from fb_marketplace_serving.storage.lake import Lake


class FeedbackSource(Lake):
    """A folder or prefix with files of searches and of clicks. It need not exist."""

    def exists(self) -> bool:
        """Check whether the folder exists."""
        return bool(self.filesystem.isdir(self.root))

    def lines(self, kind: Kind) -> Iterator[bytes]:
        """Yield the lines of all files of a kind, oldest file first; none if there is no folder."""
        for name in sorted(self.sizes()):
            if fnmatchcase(name, file_name(kind, "*")):
                with self.open(name) as stream:
                    yield from stream
