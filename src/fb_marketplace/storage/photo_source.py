"""The folder of raw photos: listed once, then fetched in concurrent batches."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from fb_marketplace_serving.storage.lake import Lake

FETCH_BATCH_SIZE: Final = 32
BYTES_PER_BATCH: Final = 64 * 1024 * 1024


class PhotoFile(NamedTuple):
    """A listed photo: its key in the folder, its size in bytes, and a tag that changes with the content."""

    key: str
    size: int
    etag: str


class FetchFailure(StrEnum):
    """Reason why a listed photo could not be fetched."""

    GONE = "the file was removed after it was listed"
    REPLACED = "the file was replaced after it was listed"


class PhotoSource(Lake):
    """A folder or prefix with photos. It need not exist."""

    def exists(self) -> bool:
        """Check whether the folder exists."""
        return bool(self.filesystem.isdir(self.root))

    def files(self) -> list[PhotoFile]:
        """List the files below the folder except hidden ones, by key; empty if there is no folder."""
        if not self.exists():
            return []
        root = PurePosixPath(self.root)
        files = [
            PhotoFile(str(PurePosixPath(path).relative_to(root)), int(info["size"]), _etag(info))
            for path, info in self.filesystem.find(self.root, detail=True).items()
            if info.get("type", "file") == "file"
        ]
        return sorted(file for file in files if not PurePosixPath(file.key).name.startswith("."))

    def fetch(self, files: Sequence[PhotoFile]) -> list[bytes | FetchFailure]:
        """Fetch files, and check that they have not changed since they were listed.

        Photos in S3 are compared by ETag, photos on a disk by modification time. Photos from other stores
        are not compared here; a different size is detected later, when the photo is read.

        Returns:
            For each file its content, or the reason why it could not be fetched.

        Raises:
            OSError: the store failed on a file in all attempts.
        """
        filesystem = self.filesystem
        paths = [f"{self.root}/{file.key}" for file in files]
        # Tested by attribute: importing the class would import botocore for photos on a disk too.
        if hasattr(filesystem, "cat_as_listed"):
            fetched = filesystem.cat_as_listed(
                paths, [file.etag for file in files], max_concurrency=FETCH_BATCH_SIZE
            )
        elif filesystem.async_impl:
            # Not `cat`, which reads "[1]" in a name as a pattern.
            fetched = filesystem.cat_ranges(
                paths, None, None, batch_size=FETCH_BATCH_SIZE, on_error="return"
            )
        else:
            fetched = [
                _read(filesystem, path, file.etag) for path, file in zip(paths, files, strict=True)
            ]
        return [_bytes_or_failure(result) for result in fetched]


def batch_by_bytes(files: Sequence[PhotoFile], count: int) -> Iterator[list[PhotoFile]]:
    """Yield batches of at most ``count`` files and ``BYTES_PER_BATCH`` bytes.

    A file that is larger than that is a batch of its own.
    """
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
    """Return the store's ETag, or the modification time of a local file."""
    tag = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified")
    return str(tag).strip('"')


def _read(filesystem: Any, path: str, etag: str) -> bytes | FileNotFoundError | None:
    try:
        content = bytes(filesystem.cat_file(path))
        # Checked afterwards, to notice a change during the read too.
        return content if _etag(filesystem.info(path)) == etag else None
    except FileNotFoundError as error:
        return error


def _bytes_or_failure(fetched: bytes | BaseException | None) -> bytes | FetchFailure:
    match fetched:
        case FileNotFoundError():
            return FetchFailure.GONE
        case None:
            return FetchFailure.REPLACED
        case BaseException():
            raise fetched
        case _:
            return bytes(fetched)
