"""A release, verified and opened as one frozen object.

Nothing of it is parsed before its digest matched, and nothing is served before the release answered
its own canaries as the pipeline did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.release.artifacts import read_verified
from fb_marketplace_serving.release.manifest import (
    Artifact,
    ArtifactName,
    Canary,
    Manifest,
    ReleaseError,
    manifest_path,
    open_lake,
    read_manifest,
)
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.release.pointer import read_current
from fb_marketplace_serving.release.search_artifacts import (
    LOADERS,
    ArtifactMismatch,
    SearchArtifacts,
)
from fb_marketplace_serving.search.listings import Listing, read_listings
from fb_marketplace_serving.storage.lake import Lake

TOLERANCE: Final = 1e-3
"""How far an answer to a canary may be off, absolute: another CPU, or another number of threads,
sums in another order. A wrong model, or wrong labels, is off by far more."""

_REPAIR: Final = "publish the release again, or put another in force by `fb-serve rollback`"


@dataclass(frozen=True, slots=True)
class Release:
    """All that answers a request, of one version.

    Attributes:
        manifest: what it is made of.
        encoder: photos to probabilities and embeddings.
        index: embeddings to neighbours.
        listings: by product id; every product of the index is there.
        photos: the canonical photos; every photo of the index is there.
        search: what it is searched by words with; None where it cannot be.
    """

    manifest: Manifest
    encoder: Encoder
    index: Index
    listings: Mapping[str, Listing]
    photos: PhotoStore
    search: SearchArtifacts | None = None

    @classmethod
    def open(
        cls, url: str, version: str | None = None, *, encoder_threads: int | None = None
    ) -> Self:
        """Open a release of a lake.

        Args:
            url: root of the lake: a path or any fsspec URL.
            version: which; without it, the one in force.
            encoder_threads: threads that the encoder may use for a batch.

        Raises:
            ReleaseError: there is none, it is not whole, or it does not answer as it should.
        """
        lake = open_lake(url)
        manifest = read_current(lake) if version is None else read_manifest(lake, version)
        return cls.from_manifest(lake, manifest, encoder_threads=encoder_threads)

    @classmethod
    def from_manifest(
        cls, lake: Lake, manifest: Manifest, *, encoder_threads: int | None = None
    ) -> Self:
        """Open what a manifest describes, published or not; as :meth:`open` otherwise."""
        file = lake.name(manifest_path(manifest.version))
        if manifest.photos_version != canonical.VERSION:
            raise ReleaseError(
                f"{file}: found photos of version {manifest.photos_version}; expected "
                f"{canonical.VERSION}: serve it with the package that it was made with, or {_REPAIR}"
            )
        data = {name: _read(lake, artifact) for name, artifact in manifest.artifacts.items()}
        parsing: Sequence[ArtifactName] = ("encoder",)
        try:
            encoder = Encoder.from_bytes(data["encoder"], encoder_threads)
            parsing = ("image_index", "image_index_ids")
            index = Index.from_bytes(data["image_index"], data["image_index_ids"])
            parsing = ("listings",)
            listings = read_listings(data["listings"])
            parsing = ("release_photos",)
            photo_files = PhotoStore.open(data["release_photos"], lake)
            search = None
            if manifest.is_searchable:
                opened = {}
                for part, (parsing, open_part) in LOADERS.items():
                    opened[part] = open_part(*(data[name] for name in parsing))
                search = SearchArtifacts(**opened)
        except ReleaseError:
            raise
        except ValueError as error:
            raise ReleaseError(f"{_files(lake, manifest, parsing)}: {error}; {_REPAIR}") from error
        release = cls(manifest, encoder, index, MappingProxyType(listings), photo_files, search)
        disagreement = _disagreement(release) or _wrong_canary(release) or _lost_photo(release)
        if disagreement:
            raise ReleaseError(f"{file}: {disagreement}; {_REPAIR}")
        wrong = _wrong_search(release)
        if wrong:
            files = _files(lake, manifest, wrong.artifacts)
            raise ReleaseError(f"{files}: {wrong.message}; {_REPAIR}")
        return release


def _files(lake: Lake, manifest: Manifest, names: Sequence[ArtifactName]) -> str:
    return " with ".join(lake.name(manifest.artifacts[name].path) for name in names)


def _read(lake: Lake, artifact: Artifact) -> bytes:
    try:
        return read_verified(lake, artifact)
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ReleaseError(f"{error}; {_REPAIR}") from None


def _disagreement(release: Release) -> str | None:
    """Say where the parts of a release do not fit each other, if anywhere."""
    manifest, encoder, index = release.manifest, release.encoder, release.index
    if len(manifest.labels) != encoder.classes:
        return (
            f"found {len(manifest.labels)} labels; expected {encoder.classes}, as the encoder has"
        )
    sizes = (manifest.embedding_dimension, encoder.dimension, index.dimension)
    if len(set(sizes)) != 1:
        return (
            f"found embeddings of {sizes[0]} numbers (manifest), {sizes[1]} (encoder) and "
            f"{sizes[2]} (index); expected one size"
        )
    unknown = sorted(set(index.product_ids) - release.listings.keys())
    if unknown:
        return (
            f"found {len(unknown):,} products of the index that no listing describes, such as "
            f"{unknown[0]}; expected none"
        )
    return None


def _lost_photo(release: Release) -> str | None:
    """Say which photos could be found but not shown, if any."""
    lost = sorted(each for each in release.index.image_ids if each not in release.photos)
    if lost:
        return (
            f"found {len(lost):,} photos of the index that the photos artifact lacks, such as "
            f"{lost[0]}; expected none"
        )
    return None


def _wrong_search(release: Release) -> ArtifactMismatch | None:
    """Say what is wrong with the parts that words are searched by, if there are any and anything is."""
    parts = release.search
    if parts is None:
        return None
    return parts.find_mismatch(sorted(release.listings), release.index.image_ids) or (
        parts.check_canaries(release.manifest.text_canaries)
    )


def _wrong_canary(release: Release) -> str | None:
    """Say which canary is answered otherwise than by the pipeline, and how, if any is."""
    for canary in release.manifest.canaries:
        wrong = _wrong_answer(release, canary)
        if wrong:
            return f"canary {canary.image_id}: {wrong}"
    return None


def _wrong_answer(release: Release, canary: Canary) -> str | None:
    try:
        pixels = canonical.decode_canonical(canary.jpeg)
    except (ValueError, OSError) as error:
        return f"found a photo that cannot be read ({error}); expected a canonical photo"
    encoding = release.encoder.encode(pixels[np.newaxis])
    embedding = encoding.embeddings[0]
    return (
        _far_off("probabilities", encoding.probabilities[0], canary.probabilities)
        or _far_off("the embedding", embedding, canary.embedding)
        # Scores read the cosine off the distance, which holds between unit vectors only.
        or _far_off("the embedding's length", np.linalg.norm(embedding), 1.0)
        or _other_neighbour(release.index, embedding, canary)
    )


def _far_off(what: str, found: ArrayLike, expected: ArrayLike) -> str | None:
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return f"found {what} of {found.size} numbers; expected {expected.size}"
    off = float(np.abs(found - expected).max())
    # Put this way round, not-a-number is far off too.
    if not off <= TOLERANCE:
        return f"found {what} off by {off:.2g}; expected at most {TOLERANCE:g}"
    return None


def _other_neighbour(index: Index, embedding: NDArray[np.float32], canary: Canary) -> str | None:
    """Say that the index does not hold the photo, or another one is nearer than the expected."""
    # By a filter, which is answered exactly: a graph may not reach a photo that it holds.
    away = _distance(index, embedding, canary.image_id)
    if away is None:
        return (
            f"found no row of the photo among {len(index):,} of the index; expected one: they are of "
            "different versions"
        )
    # Put this way round, not-a-number is far off too.
    if not away <= TOLERANCE:
        return (
            f"found the photo's own vector {away:.2g} away (squared L2); expected at most "
            f"{TOLERANCE:g}: the index was made by another encoder"
        )
    expected = canary.neighbours[0]
    found = index.image_ids[index.search(embedding, 1).rows[0]]
    if found == expected:
        return None
    expected_away = _distance(index, embedding, expected)
    if expected_away is not None and expected_away <= away + TOLERANCE:
        return None
    return f"found {found} nearest; expected {expected}"


def _distance(index: Index, embedding: NDArray[np.float32], image_id: str) -> float | None:
    """Give the squared L2 distance of a photo that is in the index."""
    if image_id not in index.image_ids:
        return None
    row = index.image_ids.index(image_id)
    return float(index.search(embedding, 1, [row]).distances[0])
