"""Files on a local disk that appear whole or not at all, whenever the writer is killed."""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""How file systems without hard links (FAT, some network shares) say so."""


def create(target: Path, data: bytes) -> None:
    """Write a new file; folders above it are made.

    On a file system without hard links, another file made between the look and the renaming is
    lost.

    Raises:
        FileExistsError: there is one already; it is left as it was.
    """
    with _written_beside(target, data) as written:
        try:
            os.link(written, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():
                raise FileExistsError(errno.EEXIST, "exists already", str(target)) from error
            written.replace(target)


def replace(target: Path, data: bytes) -> None:
    """Write a file over another, or a new one; folders above it are made."""
    with _written_beside(target, data) as written:
        written.replace(target)


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Keep out whoever else asks for the lock of a file, threads of this process included.

    The lock is a file beside it, which stays: one that is taken away could be locked twice.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _written_beside(target: Path, data: bytes) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as stream:
        written = Path(stream.name)
        try:
            stream.write(data)
            stream.flush()
            # A name must not reach the disk before what it names.
            os.fsync(stream.fileno())
            # Temporary files are private to their owner; the server may be another user.
            written.chmod(0o644)
            yield written
        finally:
            written.unlink(missing_ok=True)
