"""The files under one root, on disk or in an object store: read whole, created, or replaced."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

_S3_CONFIG: Final = {
    "connect_timeout": 5,
    "read_timeout": 30,
    "retries": {"total_max_attempts": 2, "mode": "standard"},
}
_S3_ROUNDS: Final = 2
"""s3fs retries around botocore's retries: left alone, a dead endpoint takes minutes to say so."""

_BLOCK_BYTES: Final = 8 * 1024 * 1024


class Lake:
    """A root that files are named from by relative paths.

    Errors are OSErrors whatever the store: FileNotFoundError for what is not there, and one that
    says what the store said for a store that cannot be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        """Take a local path or any URL that fsspec knows; credentials come from the environment."""
        self.url = url.rstrip("/") or url
        options = {"config_kwargs": _S3_CONFIG} if url.startswith(("s3://", "s3a://")) else {}
        try:
            self._files, self._root = fsspec.url_to_fs(self.url, **options)
        except (ValueError, ImportError) as error:
            raise OSError(f"cannot open a lake there: {error}") from error
        if options:
            self._files.retries = _S3_ROUNDS

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
                found = self._files.ls(self._at(folder).rstrip("/"), detail=True, refresh=True)
            except FileNotFoundError:
                return {}
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

    def digest(self, path: str) -> tuple[int, str]:
        """Give the bytes of a file and their sha256 in hex, without holding the file in memory."""
        size, sha256 = 0, hashlib.sha256()
        with _os_errors(), self._files.open(self._at(path), "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                size += len(block)
                sha256.update(block)
        return size, sha256.hexdigest()

    def create(self, path: str, data: bytes) -> None:
        """Write a new file.

        Raises:
            FileExistsError: there is one already; it is left as it was.
        """
        with _os_errors():
            if isinstance(self._files, LocalFileSystem):
                target = Path(self._at(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    stream.write(data)
                return
            try:
                self._files.pipe_file(self._at(path), data, mode="create")
            except OSError as error:
                # A store may call a failed precondition an invalid argument.
                if self._files.exists(self._at(path)):
                    raise FileExistsError(self.name(path)) from error
                raise

    def replace(self, path: str, data: bytes) -> None:
        """Write a file in one step: a reader finds the old one whole or the new one whole."""
        with _os_errors():
            if isinstance(self._files, LocalFileSystem):
                _replace_on_disk(Path(self._at(path)), data)
            else:
                self._files.pipe_file(self._at(path), data)

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"


def _replace_on_disk(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as stream:
        written = Path(stream.name)
        try:
            stream.write(data)
            stream.flush()
            # Temporary files are private to their owner; the server may be another user.
            written.chmod(0o644)
            written.replace(target)
        except BaseException:
            written.unlink(missing_ok=True)
            raise


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
