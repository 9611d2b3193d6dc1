"""Unpacking of compressed files and archives. The first bytes decide, not the name of the file."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import IO, Any, Final

from fb_marketplace.errors import UserError

INFER: Final = "infer"
"""Value of ``compression`` for which the first bytes decide."""

_MAX_DEPTH: Final = 3
_MAX_NAMES_SHOWN: Final = 8
_MAGIC_BYTES: Final = 512
_STARTS: Final = (
    ("gzip", b"\x1f\x8b\x08"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("zip", b"PK\x03\x04"),
    ("zip", b"PK\x05\x06"),
)
_PACK_AGAIN: Final = "Compress it with gzip or zip instead."
_OTHER_FORMATS: Final = (
    (b"PAR1", "Parquet", "Set `type: fb_marketplace.datasets.parquet_table.ParquetDataset`."),
    (b"\xd0\xcf\x11\xe0", "an Excel file", "Save it as CSV."),
    (b"SQLite format 3", "an SQLite database", "Export the table as CSV."),
    (b"7z\xbc\xaf\x27\x1c", "compressed as 7z", _PACK_AGAIN),
    (b"Rar!\x1a\x07", "compressed as RAR", _PACK_AGAIN),
    (b"\x04\x22\x4d\x18", "compressed as LZ4", _PACK_AGAIN),
    (b"\x1f\x9d", "compressed with `compress`", _PACK_AGAIN),
)
_TAR_MARK: Final = slice(257, 262)
_SYSTEM_FILES: Final = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))
_DAMAGE: Final = (
    *(EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError),
    *(NotImplementedError, RuntimeError),  # zip files with a password or an unknown method
)


def detect_packing(head: bytes) -> str | None:
    """Return pandas' name for the packing of a file; None if it is plain.

    Args:
        head: the first bytes.

    Raises:
        UserError: the file is no CSV table and not packed in a way that can be read.
    """
    for start, description, remedy in _OTHER_FORMATS:
        if head.startswith(start):
            raise UserError(f"The file is {description}, not CSV. {remedy}")
    for method, start in _STARTS:
        if head.startswith(start):
            return method
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bz2"
    return "tar" if head[_TAR_MARK] == b"ustar" else None


def read_unpacked(
    stream: IO[bytes], compression: str | None, limit: int = -1
) -> tuple[bytes, bool]:
    """Read a file, or the only file of an archive, unpacked.

    Args:
        stream: the file, at its start.
        compression: pandas' name of the packing, ``infer``, or None for a plain file.
        limit: maximum number of unpacked bytes; -1 for all.

    Returns:
        The bytes, and whether the file was packed.

    Raises:
        UserError: the file is damaged, has another packing than configured, or is an archive of
            several files.
    """
    method = detect_packing(stream.read(_MAGIC_BYTES))
    stream.seek(0)
    if compression not in (INFER, method):
        raise UserError(
            f"The file's compression is {method or 'none'}, but `compression` is {compression!r}. Remove "
            "`compression` under load_args in catalog_cleaning.yml."
        )
    is_packed = method is not None
    try:
        for _ in range(_MAX_DEPTH):
            if method is None:
                break
            unpacked = _OPENERS[method](stream)
            method = detect_packing(unpacked.peek(_MAGIC_BYTES))
            stream = unpacked
        return stream.read(limit), is_packed
    except _DAMAGE as error:
        raise _damaged(error) from error
    except OSError as error:
        # The message of a decompressor; errors of a store have a number or a class of their own.
        if not is_packed or error.errno is not None or type(error) is not OSError:
            raise
        raise _damaged(error) from error


def _damaged(error: Exception) -> UserError:
    reason = " ".join(str(error).split())[:100]
    return UserError(f"The file cannot be unpacked: {reason}. Upload it again, without a password.")


def _open_zip(stream: IO[bytes]) -> IO[bytes]:
    archive = zipfile.ZipFile(stream)
    return archive.open(_only_file(info.filename for info in archive.infolist()))


def _open_tar(stream: IO[bytes]) -> IO[bytes]:
    archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115 - read by the caller
    name = _only_file(member.name for member in archive.getmembers() if member.isfile())
    member = archive.extractfile(name)
    if member is None:
        raise tarfile.TarError(f"{name} is not a file")
    return member


def _open_zstd(stream: IO[bytes]) -> IO[bytes]:
    import pyarrow as pa

    return io.BufferedReader(
        _RawStream(pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"))
    )


class _RawStream(io.RawIOBase):
    """An Arrow stream as a stream of Python."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _only_file(names: Iterable[str]) -> str:
    """Return the only file of an archive. Hidden files, and those that macOS or Windows add, do not count.

    Raises:
        UserError: there is none, or more than one.
    """
    files = [name for name in names if not name.endswith("/") and not _is_system_file(name)]
    if len(files) == 1:
        return files[0]
    first_names = ", ".join(files[:_MAX_NAMES_SHOWN]) + (
        ", …" if len(files) > _MAX_NAMES_SHOWN else ""
    )
    raise UserError(
        f"The archive contains {len(files)} files{': ' if files else ''}{first_names}; expected one. Put "
        "one table into each archive."
    )


def _is_system_file(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not _SYSTEM_FILES.isdisjoint(parts) or parts[-1].startswith(".")


_OPENERS: Final[dict[str, Callable[[Any], Any]]] = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": _open_zstd,
    "zip": _open_zip,
    "tar": _open_tar,
}
