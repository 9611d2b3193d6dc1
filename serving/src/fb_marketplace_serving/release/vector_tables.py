"""Lance tables of a release, in place of its indexes. A server copies them, up to a limit."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import (
    CACHE_BYTES,
    COPY_CACHE_BYTES,
    VectorTable,
    VectorTableError,
    vector_blocks,
)
from fb_marketplace_serving.release.artifacts import (
    FETCH_THREADS,
    cache_error,
    read_verified_blocks,
)
from fb_marketplace_serving.release.manifest import (
    REPAIR,
    Artifact,
    ArtifactName,
    Manifest,
    ReleaseError,
    VectorTableFiles,
    tails_sha256,
    unreadable,
)
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.private_file import PrivateFile, PrivateFolder

LOG: Final = logging.getLogger(__name__)

IndexLoader = Callable[..., Index]
"""Returns an index from its ids and a folder; see :meth:`Index.from_table`."""


def open_vector_tables(
    lake: Lake,
    manifest: Manifest,
    folder: Path,
    cache_bytes: int = CACHE_BYTES,
    disk_bytes: int = 0,
) -> dict[ArtifactName, IndexLoader]:
    """Open the tables of a release, and verify the files that Lance parses.

    Lance panics, or ends the process, on some damaged files. Of the vectors, only sizes and the metadata at
    the end of their files are verified, also if they are copied. ``fb-serve verify`` verifies the rest.

    Args:
        lake: the lake.
        manifest: the release.
        folder: folder for copies of tables, which are private files.
        cache_bytes: maximum memory for cached parts of the tables that are not copied.
        disk_bytes: maximum size of all copies. Tables beyond it, or beyond the space of the disk, are read
            in the lake.

    Returns:
        A loader of the index with the vectors of each table.

    Raises:
        ReleaseError: a table is missing or damaged, cannot be read, or Lance is not installed.
    """
    loaders: dict[ArtifactName, IndexLoader] = {}
    for name, files in manifest.vector_tables.items():
        _check_files(lake, files)
        size = sum(file.bytes for file in files.files)
        table = None
        if size <= disk_bytes:
            try:
                table = _open_copy(lake, files, folder)
                disk_bytes -= size
            except OSError as error:
                problem = cache_error(folder, error)
                LOG.warning(
                    "%s. Until then, %s is read in the lake", problem, lake.name(files.path)
                )
        table = table or _open(lake, files, cache_bytes // len(manifest.vector_tables))
        loaders[name] = partial(Index.from_table, table, files.index_sha256)
    return loaders


def _check_files(lake: Lake, files: VectorTableFiles) -> None:
    """Check the sizes of all files, and the metadata of those of vectors."""
    with _release_errors(lake.name(files.path)):
        sizes = {path: int(info["size"]) for path, info in lake.find(files.path).items()}
        for file in files.files:
            size = sizes.get(file.path)
            if size != file.bytes:
                problem = "not found" if size is None else f"found {size:,} bytes"
                raise ReleaseError(
                    f"{lake.name(file.path)}: {problem}; expected {file.bytes:,} bytes; {REPAIR}"
                )
        vectors, _ = files.split()
        if tails_sha256(lake, vectors) != files.tails_sha256:
            raise ReleaseError(
                f"{', '.join(lake.name(file.path) for file in vectors)}: found another checksum of the "
                f"metadata than in the manifest; {REPAIR}"
            )


def _open(lake: Lake, files: VectorTableFiles, cache_bytes: int) -> VectorTable:
    """Open a table in the lake, and verify the files that Lance parses."""
    name = lake.name(files.path)
    _, others = files.split()
    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        list(pool.map(lambda file: deque(_verified_blocks(lake, file), maxlen=0), others))
    with _release_errors(name):
        return VectorTable.open(name, files.version, cache_bytes)


def _open_copy(lake: Lake, files: VectorTableFiles, folder: Path) -> VectorTable:
    """Copy a table, and open the copy.

    Raises:
        OSError: the folder cannot be written.
    """
    name, copy = lake.name(files.path), PrivateFolder(folder)
    _, others = files.split()

    def fetch(file: Artifact) -> PrivateFile:
        return PrivateFile.from_blocks(_verified_blocks(lake, file), folder)

    def vectors() -> Iterator[memoryview]:
        with _release_errors(name):
            yield from vector_blocks(name, files.version)

    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        for file, content in zip(others, pool.map(fetch, others), strict=True):
            copy.add(file.path.removeprefix(f"{files.path}/"), content)
    with _release_errors(name):
        table = VectorTable.open(str(copy.path), files.version, COPY_CACHE_BYTES)
    content = PrivateFile.from_blocks(vectors(), folder)
    with _release_errors(name):
        table.use_copy(content, copy)
    return table


@contextmanager
def _release_errors(name: str) -> Iterator[None]:
    """Raise a ReleaseError if a table cannot be read, is damaged, or Lance is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ReleaseError(
            f"{name}: a table of a release with `search.engine: lance`, which needs Lance; install it with "
            "`pip install 'fb-marketplace-serving[lance]'`, or serve it from the pipelines' image"
        ) from error
    except VectorTableError as error:
        raise ReleaseError(f"{name}: {error}; {REPAIR}") from error
    except OSError as error:
        raise unreadable(name, error) from error


def _verified_blocks(lake: Lake, file: Artifact) -> Iterator[bytes]:
    """Yield the blocks of a file whose checksum is verified after the last one."""
    try:
        yield from read_verified_blocks(lake, file)
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ReleaseError(f"{error}; {REPAIR}") from None
