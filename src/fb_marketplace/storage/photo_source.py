"""The folder of raw photos: listed once, then fetched in concurrent batches."""

import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from posixpath import splitext
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from fb_marketplace_serving.storage.lake import Lake

FETCH_BATCH_SIZE: Final = 32


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
        return sorted(
            PhotoFile(key, int(info["size"]), _etag(info))
            for key, info in self.find().items()
            if not key.rpartition("/")[2].startswith(".")
        )

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
        paths = [self.full_path(file.key) for file in files]
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


def photo_names(key: str) -> tuple[str, ...]:
    """Return the names that a key may stand for, the most literal first.

    A name is in NFC, since macOS writes another normal form. Second, it is without empty and ``.`` parts:
    ``/a.jpg`` is ``a.jpg``. Last, it is percent-decoded: ``shop%2F1.jpg`` is ``shop/1.jpg``.
    """
    literal = unicodedata.normalize("NFC", key)
    short = "/".join(part for part in literal.split("/") if part not in ("", "."))
    return tuple(dict.fromkeys((literal, short, unicodedata.normalize("NFC", unquote(short)))))


def photo_ids(key: str) -> tuple[str, ...]:
    """Return the image ids that a key may stand for: its names without their extension."""
    return tuple(splitext(name)[0] for name in photo_names(key))


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
