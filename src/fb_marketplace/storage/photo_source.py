"""The folder of raw photos: listed once, and fetched in concurrent batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from fb_marketplace.storage.filesystem import open_root

FETCH_BATCH_SIZE: Final = 32
BYTES_PER_BATCH: Final = 64 * 1024 * 1024


class PhotoFile(NamedTuple):
    """A file as listed: its key under the folder, its size, and what changes with its content."""

    key: str
    size: int
    etag: str


class FetchFailure(StrEnum):
    """Why what was listed could not be fetched."""

    GONE = "it was listed, but was gone when it was fetched"
    REPLACED = "it was listed, but another file was in its place when it was fetched"


@dataclass(frozen=True, slots=True)
class PhotoSource:
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

    def fetch(self, files: Sequence[PhotoFile]) -> list[bytes | FetchFailure]:
        """Fetch files at once, as they were listed: in S3 by their ETags, on a disk by when they changed.

        From other stores a file is taken as it comes; one of another size is seen when it is read.

        Raises:
            OSError: the store failed on one, after the retries of :mod:`fb_marketplace.storage.filesystem`.
        """
        filesystem, root = open_root(self.url)
        paths = [f"{root}/{file.key}" for file in files]
        # By its name: to import its class would import botocore wherever photos are read from a disk.
        if hasattr(filesystem, "cat_as_listed"):
            fetched = filesystem.cat_as_listed(
                paths, [file.etag for file in files], max_concurrency=FETCH_BATCH_SIZE
            )
        elif filesystem.async_impl:
            # Not `cat`, which takes "[1]" in a name for a pattern.
            fetched = filesystem.cat_ranges(
                paths, None, None, batch_size=FETCH_BATCH_SIZE, on_error="return"
            )
        else:
            fetched = [
                _read(filesystem, path, file.etag) for path, file in zip(paths, files, strict=True)
            ]
        return [_bytes_or_missed(each) for each in fetched]


def batch_by_bytes(files: Sequence[PhotoFile], count: int) -> Iterator[list[PhotoFile]]:
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


def _read(filesystem: Any, path: str, etag: str) -> bytes | FileNotFoundError | None:
    try:
        content = bytes(filesystem.cat_file(path))
        # Afterwards, so that what changed while it was read is seen too.
        return content if _etag(filesystem.info(path)) == etag else None
    except FileNotFoundError as error:
        return error


def _bytes_or_missed(fetched: bytes | BaseException | None) -> bytes | FetchFailure:
    match fetched:
        case FileNotFoundError():
            return FetchFailure.GONE
        case None:
            return FetchFailure.REPLACED
        case BaseException():
            raise fetched
        case _:
            return bytes(fetched)
