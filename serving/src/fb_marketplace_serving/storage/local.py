"""Atomic and durable writes to a local disk.

A file is complete or absent, even if the writer is killed. After a write returns, the file and its name are
on the disk, even if the power fails.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_NO_HARD_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
"""Errors of ``os.link`` on file systems without hard links, such as FAT and some network shares."""

_FLUSH_THREADS: Final = 16

_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP}
"""Errors of ``os.fsync`` on a folder on some network file systems."""


def create(target: Path, data: bytes) -> None:
    """Write a new file and create its parent folders.

    On a file system without hard links, a file that another process creates between the check and the
    rename is overwritten.

    Raises:
        FileExistsError: the file exists already; it is unchanged.
    """
    with _written(target, data) as temporary:
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
    with _written(target, data) as temporary:
        temporary.replace(target)


def sync(root: Path, paths: Iterable[Path]) -> None:
    """Write files, and the names of all folders up to a root, to the disk.

    Args:
        root: the folder that contains all paths.
        paths: files, and folders, which include everything in them. Missing ones are ignored.
    """
    inodes = set[Path]()
    for path in paths:
        inodes |= {path, *path.rglob("*")}
        inodes |= {parent for parent in path.parents if parent.is_relative_to(root)}
    # Concurrent flushes share a commit of the file system's journal.
    with ThreadPoolExecutor(_FLUSH_THREADS) as pool:
        list(pool.map(_flush, inodes))


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
def _written(target: Path, data: bytes) -> Iterator[Path]:
    """Write data under a temporary name, to be renamed, and then flush the name and new folders."""
    new = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    with _temporary_file(target, data) as temporary:
        yield temporary
    for folder in (target.parent, *(folder.parent for folder in new)):
        _flush(folder)


def _flush(path: Path) -> None:
    """Write a file's content, or a folder's names, to the disk, if it exists and is readable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, PermissionError):
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_file(target: Path, data: bytes) -> Iterator[Path]:
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
