"""Atomic writes to a local disk: a file is complete or absent, even if the writer is killed."""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""Errors of ``os.link`` on file systems without hard links, such as FAT and some network shares."""


def create(target: Path, data: bytes) -> None:
    """Write a new file and create its parent folders.

    On a file system without hard links, a file that another process creates between the check and the
    rename is overwritten.

    Raises:
        FileExistsError: the file exists already; it is unchanged.
    """
    with _temporary_file(target, data) as temporary:
        try:
            os.link(temporary, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            if target.exists():
                raise FileExistsError(errno.EEXIST, "exists already", str(target)) from error
            temporary.replace(target)


def replace(target: Path, data: bytes) -> None:
    """Write a file and create its parent folders. An existing file is replaced."""
    with _temporary_file(target, data) as temporary:
        temporary.replace(target)


@contextlib.contextmanager
def file_lock(target: Path) -> Iterator[None]:
    """Lock a file against other processes and other threads of this process.

    The lock is a file next to the target. It is never removed: if it were, two processes could lock two
    different files of its name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _temporary_file(target: Path, data: bytes) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name}.", delete=False
    ) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(data)
            stream.flush()
            # The data must reach the disk before the file gets its name.
            os.fsync(stream.fileno())
            # Temporary files are private to their owner; the server may run as another user.
            temporary.chmod(0o644)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
