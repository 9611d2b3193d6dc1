"""The files that a release needs, each read in blocks and held against what was sealed."""

import hashlib
from collections.abc import Iterator

from fb_marketplace_serving.release.manifest import Artifact, Manifest, ReleaseError, unreadable
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.storage.lake import Lake


def release_artifacts(lake: Lake, manifest: Manifest) -> list[Artifact]:
    """List every file that a server of a release reads, each once, but for the manifest itself.

    The files of its photos come last; they are named by the artifact ``photos``.

    Raises:
        ReleaseError: that artifact is not as it was sealed.
    """
    named = manifest.artifacts["photos"]
    try:
        photo_files = PhotoStore.named(read_verified(lake, named), lake).artifacts()
    except ReleaseError:
        raise
    except ValueError as error:
        raise ReleaseError(f"{lake.name(named.path)}: {error}") from error
    return [*manifest_artifacts(manifest), *photo_files]


def manifest_artifacts(manifest: Manifest) -> list[Artifact]:
    """List the files that the manifest itself names, each once."""
    return list({artifact.path: artifact for artifact in manifest.artifacts.values()}.values())


def read_verified(lake: Lake, artifact: Artifact) -> bytes:
    """Read a file of a release, whole and at once.

    Raises:
        ReleaseError: it is not there, or has other bytes than were sealed; caused by an OSError where the
            store does not give it.
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


def read_verified_blocks(lake: Lake, artifact: Artifact) -> Iterator[bytes]:
    """Read a file of a release in blocks, never more of it than was sealed.

    Whoever uses a block before the last has come uses what is not proven yet.

    Raises:
        ReleaseError: it is not there, or has other bytes than were sealed; said at its end.
    """
    file = lake.name(artifact.path)
    size, sha256 = 0, hashlib.sha256()
    try:
        for block in lake.blocks(artifact.path):
            size += len(block)
            if size > artifact.bytes:
                raise ReleaseError(
                    f"{file}: found more than {artifact.bytes:,} bytes; expected that many"
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
