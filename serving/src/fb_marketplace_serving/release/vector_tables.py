"""Lance tables of a release, which take the place of its indexes and are read where they are."""

from collections.abc import Callable
from functools import partial

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import CACHE_BYTES, VectorTable, VectorTableError
from fb_marketplace_serving.release.manifest import (
    REPAIR,
    ArtifactName,
    Manifest,
    ReleaseError,
    VectorTableFiles,
    unreadable,
)
from fb_marketplace_serving.storage.lake import Lake

IndexLoader = Callable[..., Index]
"""Returns an index from its ids and a folder; see :meth:`Index.from_table`."""


def open_vector_tables(
    lake: Lake, manifest: Manifest, cache_bytes: int = CACHE_BYTES
) -> dict[ArtifactName, IndexLoader]:
    """Open the tables of a release, and check that their files exist with their sizes.

    The checksums are not verified: that would read all vectors. ``fb-serve verify`` does it.

    Args:
        lake: the lake.
        manifest: the release.
        cache_bytes: maximum size of the cached parts of all tables.

    Returns:
        A loader of the index with the vectors of each table.

    Raises:
        ReleaseError: a table is missing or damaged, cannot be read, or Lance is not installed.
    """
    loaders: dict[ArtifactName, IndexLoader] = {}
    for name, files in manifest.vector_tables.items():
        table = _open(lake, files, cache_bytes // len(manifest.vector_tables))
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
        return VectorTable.open(name, files.version, cache_bytes)
    except ModuleNotFoundError as error:
        raise ReleaseError(
            f"{name}: a table of a release with `search.engine: lance`, which needs Lance; install it with "
            "`pip install 'fb-marketplace-serving[lance]'`"
        ) from error
    except VectorTableError as error:
        raise ReleaseError(f"{name}: {error}; {REPAIR}") from error
    except OSError as error:
        raise unreadable(name, error) from error
