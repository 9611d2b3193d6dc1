"""Files of a release, verified against the checksums in its manifest."""

import errno
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from fb_marketplace_serving.release.manifest import (
    PHOTO_TABLES,
    Artifact,
    ArtifactName,
    Manifest,
    ReleaseError,
    unreadable,
)
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.private_file import PrivateFile

MAX_READ_BYTES: Final = 4 * 1024 * 1024
"""Larger files are copied in blocks, each of which is a request in an object store."""

FETCH_THREADS: Final = 4
"""Number of files that are copied and verified at once. Copying and hashing release the GIL."""


def release_artifacts(lake: Lake, manifest: Manifest) -> list[Artifact]:
    """Return all files of a release except its manifest; photo files come last.

    Raises:
        ReleaseError: an artifact that lists the photo files is damaged.
    """
    photo_files: dict[str, Artifact] = {}
    for name in PHOTO_TABLES:
        table = manifest.artifacts[name]
        try:
            files = PhotoStore.from_table(read_verified(lake, table), lake).artifacts()
        except ReleaseError:
            raise
        except ValueError as error:
            raise ReleaseError(f"{lake.name(table.path)}: {error}") from error
        photo_files |= {file.path: file for file in files}
    return [*manifest.files, *photo_files.values()]


def read_verified(lake: Lake, artifact: Artifact) -> bytes:
    """Read a file of a release into memory.

    Raises:
        ReleaseError: the file is missing or its checksum differs. ``__cause__`` is an OSError if the
            store failed.
    """
    file = lake.name(artifact.path)
    try:
        data = lake.read(artifact.path)
    except FileNotFoundError:
        raise _missing(file, artifact) from None
    except OSError as error:
        raise unreadable(file, error) from error
    difference = artifact.difference(len(data), hashlib.sha256(data).hexdigest())
    if difference:
        raise ReleaseError(f"{file}: {difference}")
    return data


def fetch_verified(
    lake: Lake, artifacts: Mapping[ArtifactName, Artifact], folder: Path
) -> dict[ArtifactName, PrivateFile]:
    """Copy files of a release into private files, several at a time.

    Args:
        lake: the lake.
        artifacts: the files.
        folder: folder for the private files.

    Returns:
        The private files. Their checksums are verified.

    Raises:
        ReleaseError: a file is missing or its checksum differs, or the folder cannot be written. The
            error is that of the first such file. ``__cause__`` is an OSError if the store failed.
    """

    def fetch(artifact: Artifact) -> PrivateFile:
        is_small = artifact.bytes <= MAX_READ_BYTES
        blocks = (
            [read_verified(lake, artifact)] if is_small else read_verified_blocks(lake, artifact)
        )
        try:
            file = PrivateFile.from_blocks(blocks, folder)
        except OSError as error:
            raise cache_error(folder, error) from error
        file.sha256 = artifact.sha256
        return file

    with ThreadPoolExecutor(FETCH_THREADS) as pool:
        files = [pool.submit(fetch, artifact) for artifact in artifacts.values()]
        try:
            return {name: file.result() for name, file in zip(artifacts, files, strict=True)}
        finally:
            pool.shutdown(cancel_futures=True)


_REMEDIES: Final = {
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit on open files (fs.file-max)",
    errno.ENOMEM: "raise the memory limit, or the limit on mapped files (vm.max_map_count)",
}


def cache_error(folder: Path, error: OSError) -> ReleaseError:
    """Return the error for a folder that cannot hold the private files of a release."""
    remedy = _REMEDIES.get(
        error.errno or 0,
        "expected a writable folder with space for two releases; set FB_CACHE_DIR to one on a disk",
    )
    return ReleaseError(
        f"{folder}: cannot hold the files of the release ({error.strerror or error}); {remedy}"
    )


def read_verified_blocks(lake: Lake, artifact: Artifact) -> Iterator[bytes]:
    """Yield a file of a release in blocks, never more than its recorded size.

    The checksum is compared after the last block, so do not trust a block before the iterator ends.

    Raises:
        ReleaseError: the file is missing, or its checksum differs.
    """
    file = lake.name(artifact.path)
    size, sha256 = 0, hashlib.sha256()
    try:
        for block in lake.blocks(artifact.path):
            size += len(block)
            if size > artifact.bytes:
                raise ReleaseError(
                    f"{file}: found more than {artifact.bytes:,} bytes; expected {artifact.bytes:,}"
                )
            sha256.update(block)
            yield block
    except FileNotFoundError:
        raise _missing(file, artifact) from None
    except OSError as error:
        raise unreadable(file, error) from error
    difference = artifact.difference(size, sha256.hexdigest())
    if difference:
        raise ReleaseError(f"{file}: {difference}")


def _missing(file: str, artifact: Artifact) -> ReleaseError:
    return ReleaseError(f"{file}: not found; expected {artifact.bytes:,} bytes")
