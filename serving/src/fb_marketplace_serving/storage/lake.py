"""The lake: files below one root, on a local disk or in an object store."""

import contextlib
import hashlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fb_marketplace_serving.storage import local
from fb_marketplace_serving.storage.urls import is_s3, join, local_path, normalize_root

_S3_CLASS: Final = "fb_marketplace_serving.storage.s3.RetryingS3FileSystem"

_BLOCK_BYTES: Final = 8 * 1024 * 1024
_LOCAL_BLOCK_BYTES: Final = 1024 * 1024
"""Bytes of a block. In an object store, each block is a request."""

_CONDITION_FAILED: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}

_threads_lock: Final = threading.Lock()


def register_s3() -> None:
    """Make fsspec open every ``s3://`` URL with :mod:`storage.s3`, which is imported on first use."""
    for protocol in ("s3", "s3a"):
        registered = fsspec.registry.get(protocol)
        if registered is None:
            fsspec.register_implementation(protocol, _S3_CLASS, clobber=True)
        elif f"{registered.__module__}.{registered.__name__}" != _S3_CLASS:
            from fb_marketplace_serving.storage.s3 import RetryingS3FileSystem

            fsspec.register_implementation(protocol, RetryingS3FileSystem, clobber=True)


class ConcurrentWriteError(OSError):
    """Another writer has changed the file since it was read. Its change is kept."""


class Lake:
    """Files below one root, with paths relative to it.

    Every error is an OSError: FileNotFoundError for a missing file, and one with the store's message if
    the store refuses the request or cannot be reached.

    Attributes:
        url: the root, without a trailing slash.
        filesystem: the fsspec filesystem.
        root: path of the root in this filesystem.
    """

    def __init__(self, url: str) -> None:
        """Open a lake. Credentials come from the environment.

        Args:
            url: a local path, or any URL that fsspec supports.

        Raises:
            OSError: fsspec cannot open the URL.
        """
        self.url = normalize_root(url)
        self._is_s3 = is_s3(url)
        register_s3()
        try:
            self.filesystem, root = fsspec.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise OSError(f"cannot open the lake {self.url}: {error}") from error
        self.root = root.rstrip("/")

    def name(self, path: str) -> str:
        """Return the full name of a file, for messages."""
        return join(self.url, path)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Read the bytes from ``start`` up to but excluding ``end``; fewer if the file ends before."""
        data: bytes = self.filesystem.cat_file(self.full_path(path), start=start, end=end)
        return data

    def sizes(self, folder: str = "") -> dict[str, int]:
        """List the files of a folder with one request.

        Returns:
            Bytes by file name; empty if there is no such folder.
        """
        full_path = self.full_path(folder).rstrip("/")
        try:
            # Without `refresh`, a cached listing would hide files that other processes have written.
            entries = self.filesystem.ls(full_path, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        # This listing must not be cached either.
        self.filesystem.invalidate_cache(full_path)
        return {name: int(info["size"]) for name, info in _files(entries, full_path)}

    def find(self, folder: str = "") -> dict[str, dict[str, Any]]:
        """List all files below a folder.

        Returns:
            fsspec's description of each file, by path relative to the root: exactly the rest of its key,
            which may have two slashes in a row. Empty if there is no such folder.
        """
        below = self.filesystem.find(self.full_path(folder).rstrip("/"), detail=True)
        return dict(_files(below.values(), self.root))

    def read(self, path: str) -> bytes:
        """Read a file."""
        data: bytes = self.filesystem.cat_file(self.full_path(path))
        return data

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Read a file and its tag, which changes with the content; see :meth:`replace_if`."""
        if self._is_s3:
            data, etag = self.filesystem.cat_with_etag(self.full_path(path))
            return data, etag
        data = self.read(path)
        return data, hashlib.sha256(data).hexdigest()

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file in blocks of one or a few megabytes."""
        is_local = isinstance(self.filesystem, LocalFileSystem)
        size = _LOCAL_BLOCK_BYTES if is_local else _BLOCK_BYTES
        with self.filesystem.open(self.full_path(path), "rb", block_size=size) as stream:
            while block := stream.read(size):
                yield block

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading."""
        stream: IO[bytes] = self.filesystem.open(self.full_path(path), "rb")
        return stream

    def digest(self, path: str) -> tuple[int, str]:
        """Compute the size and checksum of a file, block by block.

        Returns:
            The size in bytes, and the SHA-256 in hex.
        """
        size, sha256 = 0, hashlib.sha256()
        for block in self.blocks(path):
            size += len(block)
            sha256.update(block)
        return size, sha256.hexdigest()

    def create(self, path: str, data: bytes) -> None:
        """Write a new file atomically.

        Raises:
            FileExistsError: the file exists already; it is unchanged. On S3, only if its content differs:
                if the response to a put is lost, its retry finds the file of the first attempt.
        """
        full_path = self.full_path(path)
        if isinstance(self.filesystem, LocalFileSystem):
            local.create(Path(full_path), data)
            return
        try:
            self.filesystem.pipe_file(full_path, data, mode="create")
        except OSError as error:
            # Some stores answer a failed precondition with "invalid argument".
            if _is_condition_failed(error) or self.filesystem.exists(full_path):
                raise FileExistsError(self.name(path)) from error
            raise

    def replace(self, path: str, data: bytes) -> None:
        """Write a file atomically. An existing file is replaced."""
        if isinstance(self.filesystem, LocalFileSystem):
            local.replace(Path(self.full_path(path)), data)
        else:
            self.filesystem.pipe_file(self.full_path(path), data)

    def sync(self, urls: Iterable[str]) -> None:
        """Write files and folders of the lake to the disk, before a file that names them is written.

        Object stores do this themselves.

        Args:
            urls: the files and folders. In an object store, they are not read.
        """
        if isinstance(self.filesystem, LocalFileSystem):
            local.sync(Path(self.root), (local_path(url).absolute() for url in urls))

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self.full_path(path))

    def replace_if(self, path: str, data: bytes, tag: str | None) -> None:
        """Write a file atomically, unless it has changed since it was read.

        Of several concurrent writers, one succeeds. S3 checks the condition itself (``If-Match``, or
        ``If-None-Match`` for a new file). On a local disk, a lock excludes all other processes, also those
        of other machines that mount it. fsspec has no conditional put for other stores: a lock excludes
        the other threads of this process, but another process can write between the check and the put.

        Args:
            path: the file.
            data: the new content.
            tag: the tag from :meth:`read_tagged`; None if there was no file.

        Raises:
            ConcurrentWriteError: the file has changed since; it is not replaced.
        """
        try:
            self._put_if(path, data, tag)
        except OSError as error:
            if not _is_condition_failed(error):
                raise
            # If the response to a put is lost, its retry finds the file of the first attempt.
            if self._read_if_exists(path) != data:
                raise ConcurrentWriteError(self.name(path)) from error

    def _put_if(self, path: str, data: bytes, tag: str | None) -> None:
        full_path = self.full_path(path)
        if self._is_s3:
            condition = {"mode": "create"} if tag is None else {"IfMatch": tag}
            self.filesystem.pipe_file(full_path, data, **condition)
            return
        is_local = isinstance(self.filesystem, LocalFileSystem)
        with local.file_lock(Path(full_path)) if is_local else _threads_lock:
            current = self._read_if_exists(path)
            if tag != (None if current is None else hashlib.sha256(current).hexdigest()):
                raise ConcurrentWriteError(self.name(path))
            self.replace(path, data)

    def _read_if_exists(self, path: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self.read(path)
        return None

    def full_path(self, path: str) -> str:
        """Return the path of a file in the filesystem."""
        return f"{self.root}/{path}"


def _files(entries: Iterable[dict[str, Any]], folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path relative to a folder, and the entry, of each file in a listing.

    The empty objects with which consoles and Hadoop mark a folder are not files.
    """
    prefix = f"{folder}/"
    for entry in entries:
        name = str(entry["name"])
        is_marker = not entry["size"] and name.endswith(("/", "_$folder$"))
        if entry.get("type", "file") == "file" and name.startswith(prefix) and not is_marker:
            yield name.removeprefix(prefix), entry


def _is_condition_failed(error: OSError) -> bool:
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in _CONDITION_FAILED
