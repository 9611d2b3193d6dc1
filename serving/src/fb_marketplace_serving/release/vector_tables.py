"""Lance tables of a release, in place of its indexes. A server copies their vectors, up to a limit."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import (
    CACHE_BYTES,
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
from fb_marketplace_serving.storage.private_file import PrivateFile

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
        folder: folder for copies of vectors, which are private files.
        cache_bytes: maximum size of the parts of all tables that are cached in memory.
        disk_bytes: maximum size of the copied vectors of all tables. Those of the other tables are read
            from the lake.

    Returns:
        A loader of the index with the vectors of each table.

    Raises:
        ReleaseError: a table is missing or damaged, cannot be read, Lance is not installed, or the folder
            cannot be written.
    """
    loaders: dict[ArtifactName, IndexLoader] = {}
    for name, files in manifest.vector_tables.items():
        table = _open(lake, files, cache_bytes // len(manifest.vector_tables))
        if table.vector_bytes <= disk_bytes:
            disk_bytes -= table.vector_bytes
            _copy_vectors(lake.name(files.path), files.version, table, folder)
        loaders[name] = partial(Index.from_table, table, files.index_sha256)
    return loaders


def _open(lake: Lake, files: VectorTableFiles, cache_bytes: int) -> VectorTable:
    name = lake.name(files.path)
    try:
        sizes = {path: int(info["size"]) for path, info in lake.find(files.path).items()}
        for file in files.files:
            size = sizes.get(file.path)
            if size != file.bytes:
                problem = "not found" if size is None else f"found {size:,} bytes"
                raise ReleaseError(
                    f"{lake.name(file.path)}: {problem}; expected {file.bytes:,} bytes; {REPAIR}"
                )
        vectors, others = files.split()
        with ThreadPoolExecutor(FETCH_THREADS) as pool:
            list(pool.map(lambda file: _verify(lake, file), others))
        if tails_sha256(lake, vectors) != files.tails_sha256:
            raise ReleaseError(
                f"{', '.join(lake.name(file.path) for file in vectors)}: found another checksum of the "
                f"metadata than in the manifest; {REPAIR}"
            )
        return VectorTable.open(name, files.version, cache_bytes)
    except ModuleNotFoundError as error:
        raise ReleaseError(
            f"{name}: a table of a release with `search.engine: lance`, which needs Lance; install it with "
            "`pip install 'fb-marketplace-serving[lance]'`, or serve it from the pipelines' image"
        ) from error
    except VectorTableError as error:
        raise ReleaseError(f"{name}: {error}; {REPAIR}") from error
    except OSError as error:
        raise unreadable(name, error) from error


def _copy_vectors(name: str, version: int, table: VectorTable, folder: Path) -> None:
    def blocks() -> Iterator[memoryview]:
        try:
            yield from vector_blocks(name, version)
        except OSError as error:
            raise unreadable(name, error) from error

    try:
        file = PrivateFile.from_blocks(blocks(), folder)
        table.use_copy(file)
    except VectorTableError as error:
        raise ReleaseError(f"{name}: {error}; {REPAIR}") from error
    except OSError as error:
        raise cache_error(folder, error) from error


def _verify(lake: Lake, file: Artifact) -> None:
    try:
        for _ in read_verified_blocks(lake, file):
            pass
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ReleaseError(f"{error}; {REPAIR}") from None
