"""The folder of raw photos: listed once, and fetched in concurrent batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from fb_marketplace.storage import open_root

FETCHED_AT_ONCE: Final = 32
BYTES_PER_BATCH: Final = 64 * 1024 * 1024


class PhotoFile(NamedTuple):
    """A file as listed: its key under the folder, its size, and what changes with its content."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class PhotoFolder:
    """A folder or prefix that holds photos."""

    url: str

    def exists(self) -> bool:
        """Tell whether there is such a folder."""
        filesystem, root = open_root(self.url)
        return bool(filesystem.isdir(root))

    def files(self) -> list[PhotoFile]:
        """List all files below the folder, sorted by key."""
        filesystem, root = open_root(self.url)
        if not filesystem.isdir(root):
            return []
        found = filesystem.find(root, detail=True)
        files = [
            PhotoFile(str(PurePosixPath(path).relative_to(root)), int(info["size"]), _etag(info))
            for path, info in found.items()
            if info.get("type", "file") == "file"
        ]
        return sorted(file for file in files if not PurePosixPath(file.key).name.startswith("."))

    def fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        """Fetch files at once; ``None`` stands for one that is no longer there.

        Raises:
            OSError: the store failed on one, after the retries that :mod:`fb_marketplace.storage` asks for.
        """
        filesystem, root = open_root(self.url)
        paths = [f"{root}/{key}" for key in keys]
        if not filesystem.async_impl:
            return [_read_or_none(filesystem, path) for path in paths]
        # Not `cat`, which takes "[1]" in a name for a pattern.
        fetched = filesystem.cat_ranges(
            paths, None, None, batch_size=FETCHED_AT_ONCE, on_error="return"
        )
        return [_bytes_or_none(each) for each in fetched]


def batches(files: Sequence[PhotoFile], count: int) -> Iterator[list[PhotoFile]]:
    """Cut files into batches of at most ``count``, and of ``BYTES_PER_BATCH`` unless one is larger."""
    batch: list[PhotoFile] = []
    size = 0
    for file in files:
        if batch and (len(batch) == count or size + file.size > BYTES_PER_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _etag(info: dict[str, Any]) -> str:
    """A store's ETag; of a local file, when it was last changed."""
    tag = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified")
    return str(tag).strip('"')


def _read_or_none(filesystem: Any, path: str) -> bytes | None:
    try:
        return bytes(filesystem.cat_file(path))
    except FileNotFoundError:
        return None


def _bytes_or_none(fetched: Any) -> bytes | None:
    if isinstance(fetched, FileNotFoundError):
        return None
    if isinstance(fetched, Exception):
        raise fetched
    return bytes(fetched)
