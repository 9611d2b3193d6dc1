"""Private copies of files, mapped into memory.

A mapped file must never change: if another process truncates it, reading the map kills the server, and if
it overwrites a part, the server returns bytes that were never verified. So the server maps no file of a
lake. It copies a file into a private one without a name, verifies these bytes, and maps them. The copy
needs space on a disk, but memory only for the parts that are read, which the system can take back.
"""

import ctypes
import io
import mmap
import shutil
import tempfile
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Final, Self, TypeAlias
from weakref import WeakKeyDictionary, WeakSet, finalize

Content: TypeAlias = bytes | mmap.mmap
"""Content of a file, in memory or mapped."""

_PROCESS_MAPS: Final = Path("/proc/self/maps")
_PROCESS_FILES: Final = Path("/dev/fd")

_WRITE_BYTES: Final = 65_536
"""Bytes of a write. Linux keeps a file in memory in pieces as large as its writes, and one read of a mapped
byte makes a whole piece resident: reading 88 vectors took 70 MB with writes of a megabyte, and takes 6 MB
with this size."""


_mapped: Final[WeakSet[mmap.mmap]] = WeakSet()
_mapped_elsewhere: Final[WeakKeyDictionary[object, range]] = WeakKeyDictionary()
_mapped_lock: Final = threading.Lock()


def trim_memory() -> None:
    """Return memory to the system that only ended work needed; see :func:`release_pages`."""
    release_pages()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def release_pages() -> None:
    """Remove the pages of mapped contents from resident memory, and return Arrow's free memory.

    Opening a release reads all ids once; searches read few of them. Pages are mapped again when needed.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with _mapped_lock:
        contents, others = list(_mapped), list(_mapped_elsewhere.items())
    for content in contents:
        content.madvise(mmap.MADV_DONTNEED)
    for _, addresses in others:  # Their owners are in the list, so they stay mapped.
        ctypes.CDLL(None).madvise(
            ctypes.c_void_p(addresses.start), ctypes.c_size_t(len(addresses)), mmap.MADV_DONTNEED
        )


def register_mapping(owner: object, address: int) -> None:
    """Let :func:`release_pages` release a file that another library has mapped; no effect without Linux.

    Args:
        owner: an object. While it lives, the file is mapped.
        address: an address in the mapped file.
    """
    if not _PROCESS_MAPS.exists():
        return
    for line in _PROCESS_MAPS.read_text().splitlines():
        span, access, _, _, inode, *_ = line.split()
        addresses = range(*(int(end, 16) for end in span.split("-")))
        if address in addresses:
            # Changed pages, and those of no file, would be lost.
            if access.startswith("r-") and int(inode):
                with _mapped_lock:
                    _mapped_elsewhere[owner] = addresses
            return


class PrivateFile(io.RawIOBase):
    """A file without a name. Its space is free again when the object and all views of it are gone.

    Attributes:
        sha256: checksum of the content, in hex, if it was verified; else None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Create an empty file.

        Args:
            folder: where to create it; None for the system's folder of temporary files.

        Raises:
            OSError: the folder is missing or cannot be written.
        """
        self.sha256: str | None = None
        self._stream = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it stays open

    @classmethod
    def from_blocks(cls, blocks: Iterable[bytes | memoryview], folder: Path | None = None) -> Self:
        """Create a file from blocks of content.

        Raises:
            OSError: the folder is missing or cannot be written, or the disk is full.
        """
        file = cls(folder)
        for block in blocks:
            file.write(block)
        return file

    def write(self, block: bytes | memoryview) -> int:  # type: ignore[override]
        """Append bytes. Do not write after :attr:`content` was read.

        Raises:
            OSError: the disk is full.
        """
        rest = view = memoryview(block).cast("B")
        while rest:
            rest = rest[self._stream.write(rest[:_WRITE_BYTES]) :]
        return len(view)

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._stream.tell()

    @cached_property
    def content(self) -> Content:
        """The mapped content."""
        if not self._stream.tell():
            return b""  # An empty file cannot be mapped.
        content = mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)
        with _mapped_lock:
            _mapped.add(content)
        return content

    def expect_random_reads(self) -> None:
        """Let the system read only the pages of the content that are needed. By default, it reads 128 kB.

        This is faster if the content is larger than the memory. Reading all of it becomes slower.
        """
        if isinstance(self.content, mmap.mmap):
            self.content.madvise(mmap.MADV_RANDOM)

    def read_all(self) -> bytes:
        """Return a copy of the content in memory."""
        self._stream.seek(0)
        return self._stream.read()

    @property
    def path(self) -> str:
        """A path by which this process can open the file, while this object exists."""
        return str(_PROCESS_FILES / str(self._stream.fileno()))


class PrivateFolder:
    """A folder of private files, for a library that opens files by path. It is deleted with the object.

    It has links only: if the process is killed, they remain, but the space of the files is free.

    Attributes:
        path: path of the folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Create an empty folder.

        Args:
            folder: where to create it; None for the system's folder of temporary files.

        Raises:
            OSError: that folder is missing or cannot be written.
        """
        self.path = Path(tempfile.mkdtemp(prefix="links-", dir=folder))
        self._files: list[PrivateFile] = []
        finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def add(self, name: str, file: PrivateFile) -> None:
        """Add a file.

        Args:
            name: its path in the folder.
            file: the file. Do not write to it any more.

        Raises:
            OSError: the folder cannot be written.
        """
        link = self.path / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.path)
        self._files.append(file)
