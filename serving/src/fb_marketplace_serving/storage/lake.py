"""The files under one root, on disk or in an object store: read, created, or replaced whole."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from fb_marketplace_serving.storage import local

_OWN_S3: Final = "fb_marketplace_serving.storage.s3.S3"

_BLOCK_BYTES: Final = 8 * 1024 * 1024

_REFUSED_CONDITIONS: Final = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}

_one_at_a_time: Final = threading.Lock()


def use_own_s3() -> None:
    """Have fsspec open every ``s3://`` as :mod:`object_store` does; s3fs is imported when one is opened."""
    for protocol in ("s3", "s3a"):
        known = fsspec.registry.get(protocol)
        if known is None:
            fsspec.register_implementation(protocol, _OWN_S3, clobber=True)
        elif f"{known.__module__}.{known.__name__}" != _OWN_S3:
            from fb_marketplace_serving.storage.s3 import S3

            fsspec.register_implementation(protocol, S3, clobber=True)


class OvertakenError(OSError):
    """A file was written by another since it was read; nothing was written over it."""


class Lake:
    """A root that files are named from by relative paths.

    Errors are OSErrors whatever the store: FileNotFoundError for what is not there, and one that
    says what the store said for a store that cannot be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        """Take a local path or any URL that fsspec knows; credentials come from the environment."""
        self.url = url.rstrip("/") or url
        self._is_s3 = url.startswith(("s3://", "s3a://"))
        use_own_s3()
        try:
            self._files, self._root = fsspec.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise OSError(f"cannot open a lake there: {error}") from error

    def name(self, path: str) -> str:
        """Give the path of a file with its root, for people to read."""
        return f"{self.url}/{path}"

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Read the bytes of a file from one place up to another, or to where it ends before that."""
        with _os_errors():
            data: bytes = self._files.cat_file(self._at(path), start=start, end=end)
        return data

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Give the bytes of each file in a folder, by name, by one listing; none where there is none."""
        with _os_errors():
            try:
                # A kept listing hides what another process has just written.
                at = self._at(folder).rstrip("/")
                found = self._files.ls(at, detail=True, refresh=True)
            except FileNotFoundError:
                return {}
            # A listing that is kept hides from later reads what others write there.
            self._files.invalidate_cache(at)
        return {
            PurePosixPath(each["name"]).name: int(each["size"])
            for each in found
            if each["type"] == "file"
        }

    def read(self, path: str) -> bytes:
        """Read a whole file."""
        with _os_errors():
            data: bytes = self._files.cat_file(self._at(path))
        return data

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Read a whole file, with a tag that changes when other bytes are written there.

        What is read may be newer than its tag, but never older: see :meth:`replace_if`.
        """
        tag = self._etag(path) if self._is_s3 else None
        data = self.read(path)
        return data, tag or hashlib.sha256(data).hexdigest()

    def blocks(self, path: str) -> Iterator[bytes]:
        """Read a file in blocks of a few megabytes."""
        with (
            _os_errors(),
            self._files.open(self._at(path), "rb", block_size=_BLOCK_BYTES) as stream,
        ):
            while block := stream.read(_BLOCK_BYTES):
                yield block

    def digest(self, path: str) -> tuple[int, str]:
        """Give the bytes of a file and their sha256 in hex, without holding the file in memory."""
        size, sha256 = 0, hashlib.sha256()
        for block in self.blocks(path):
            size += len(block)
            sha256.update(block)
        return size, sha256.hexdigest()

    def create(self, path: str, data: bytes) -> None:
        """Write a new file: it appears whole or not at all, however this process ends.

        Raises:
            FileExistsError: there is one already; it is left as it was. (On S3: one of other content,
                since a put whose answer was lost is sent again, and then meets what it wrote itself.)
        """
        with _os_errors():
            if isinstance(self._files, LocalFileSystem):
                local.create(Path(self._at(path)), data)
                return
            try:
                self._files.pipe_file(self._at(path), data, mode="create")
            except OSError as error:
                # A store may call a failed precondition an invalid argument.
                if _is_refused_condition(error) or self._files.exists(self._at(path)):
                    raise FileExistsError(self.name(path)) from error
                raise

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in one step: a reader finds the old one whole or the new one whole."""
        with _os_errors():
            if isinstance(self._files, LocalFileSystem):
                local.replace(Path(self._at(path)), data)
            else:
                self._files.pipe_file(self._at(path), data)

    def replace_if(self, path: str, data: bytes, tag: str | None) -> None:
        """Write a file in one step, unless another has written it since it was read.

        Of several writers at once one wins: on S3 the store itself sees to it (``If-Match``, or
        ``If-None-Match`` for the first), on a local disk a lock between the processes of whoever
        mounts it. Of other stores fsspec knows no conditional put over a file: there the threads of
        one process exclude each other, and other processes but for the instant between a look and
        the put.

        Args:
            path: the file.
            data: what to write.
            tag: as :meth:`read_tagged` gave it; None where there was no file.

        Raises:
            OvertakenError: it is another file by now; it is left as it is.
        """
        try:
            self._put_if(path, data, tag)
        except OSError as error:
            if not _is_refused_condition(error):
                raise
            # A put whose answer was lost is sent again, and then meets what it wrote itself.
            if self._read_if_any(path) != data:
                raise OvertakenError(self.name(path)) from error

    def _put_if(self, path: str, data: bytes, tag: str | None) -> None:
        if self._is_s3:
            only_then = {"mode": "create"} if tag is None else {"IfMatch": tag}
            with _os_errors():
                self._files.pipe_file(self._at(path), data, **only_then)
            return
        at_once = (
            local.locked(Path(self._at(path)))
            if isinstance(self._files, LocalFileSystem)
            else _one_at_a_time
        )
        with _os_errors(), at_once:
            found = self._read_if_any(path)
            if tag != (None if found is None else hashlib.sha256(found).hexdigest()):
                raise OvertakenError(self.name(path))
            self.replace(path, data)

    def _read_if_any(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    def _etag(self, path: str) -> str:
        with _os_errors():
            return str(self._files.info(self._at(path), refresh=True).get("ETag") or "")

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if _is_of_botocore(error):
            raise OSError(str(error)) from error
        raise


def _is_of_botocore(error: Any) -> bool:
    """Tell an error of botocore (no OSError) without importing it where no S3 is used."""
    return any(base.__module__.startswith("botocore.") for base in type(error).__mro__)


def _is_refused_condition(error: OSError) -> bool:
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code") in _REFUSED_CONDITIONS
