"""Loading of a release, with all checks that it must pass before it is served.

No file is parsed before its checksum is verified, except the vectors in Lance tables. A release must
reproduce its canaries.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self, TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import CACHE_BYTES
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION
from fb_marketplace_serving.release.artifacts import cache_error, fetch_verified
from fb_marketplace_serving.release.descriptions import Descriptions
from fb_marketplace_serving.release.manifest import (
    DUAL_ENCODER,
    INDEXES,
    REPAIR,
    ArtifactName,
    Canary,
    Manifest,
    ReleaseError,
    manifest_path,
    open_lake,
    read_manifest,
    unreadable,
)
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.release.pointer import read_current
from fb_marketplace_serving.release.provenance import ProvenanceTable
from fb_marketplace_serving.release.search_artifacts import (
    MODELS,
    TABLES,
    ArtifactMismatch,
    SearchArtifacts,
)
from fb_marketplace_serving.release.vector_tables import IndexLoader, open_vector_tables
from fb_marketplace_serving.search.listings.listing import ListingTable, read_listings
from fb_marketplace_serving.storage.erasure_list import read_erasure_list
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.private_file import PrivateFile, release_pages

CACHE_VARIABLE: Final = "FB_CACHE_DIR"

Loaded = TypeVar("Loaded")

_models: WeakValueDictionary[tuple[object, ...], Any] = WeakValueDictionary()
"""Models of the open releases, by the checksums of their artifacts."""

TOLERANCE: Final = 1e-3
"""Maximum absolute difference from a canary's outputs. Other CPUs and thread counts sum in another order.
The wrong model or the wrong labels differ by far more."""


@dataclass(frozen=True, slots=True)
class Release:
    """A loaded and verified release. Immutable.

    Attributes:
        manifest: its manifest.
        encoder: image encoder, photos to probabilities and embeddings; None without photo search.
        index: nearest-neighbor index of photo embeddings; empty without photo search.
        listings: listings by product id; covers every product of the index.
        photos: the canonical photos; covers every photo of the index.
        display_photos: display renditions of some of these photos.
        descriptions: descriptions of the listings.
        provenance: provenance of the listings; None if the release has none.
        search: the artifacts of text search; None if the release has none.
    """

    manifest: Manifest
    encoder: Encoder | None
    index: Index
    listings: ListingTable
    photos: PhotoStore
    display_photos: PhotoStore
    descriptions: Descriptions
    provenance: ProvenanceTable | None = None
    search: SearchArtifacts | None = None

    @classmethod
    def open(
        cls,
        url: str,
        version: str | None = None,
        *,
        manifest_sha256: str | None = None,
        encoder_threads: int | None = None,
        cache: Path | None = None,
        vector_cache_bytes: int = CACHE_BYTES,
        vector_disk_bytes: int = 0,
    ) -> Self:
        """Open a release of a lake.

        Args:
            url: root of the lake: a path or any fsspec URL.
            version: the release; None for the current one.
            manifest_sha256: checksum of the manifest of that version; None if it is unknown.
            encoder_threads: threads per batch of the encoder.
            cache: folder for private copies of the files, which are mapped into memory. They have no names,
                and are deleted with the release. None for ``FB_CACHE_DIR``, or else the system's folder of
                temporary files.
            vector_cache_bytes: maximum memory for cached parts of Lance tables, if the release has any.
            vector_disk_bytes: maximum size of copies of their vectors in ``cache``, by default none; see
                :func:`open_vector_tables`.

        Raises:
            ReleaseError: there is no such release, it is damaged, or a canary is not reproduced.
        """
        lake = open_lake(url)
        manifest = (
            read_current(lake) if version is None else read_manifest(lake, version, manifest_sha256)
        )
        return cls.from_manifest(
            lake,
            manifest,
            encoder_threads=encoder_threads,
            cache=cache,
            vector_cache_bytes=vector_cache_bytes,
            vector_disk_bytes=vector_disk_bytes,
        )

    def check_erasures(self, lake: Lake) -> None:
        """Check that the release holds nothing that was erased from its lake.

        A run that began before an erasure may end after it, and an older release may be left.

        Raises:
            ReleaseError: the release holds an erased listing or photo.
            OSError: the lake cannot be read.
        """
        erased = read_erasure_list(lake)
        products = sum(map(erased.has_product, self.listings if erased.products else ()))
        images = sum(map(erased.has_image, self.index.image_ids if erased.images else ()))
        if products or images:
            raise ReleaseError(
                f"{lake.name(manifest_path(self.manifest.version))}: holds {products} listings and "
                f"{images} photos that were erased, so it cannot be published. Run `kedro run`."
            )

    @classmethod
    def from_manifest(
        cls,
        lake: Lake,
        manifest: Manifest,
        *,
        encoder_threads: int | None = None,
        cache: Path | None = None,
        vector_cache_bytes: int = CACHE_BYTES,
        vector_disk_bytes: int = 0,
    ) -> Self:
        """Open a release from its manifest, published or not; see :meth:`open`."""
        file = lake.name(manifest_path(manifest.version))
        for name, version, expected in (
            ("photos", manifest.photos_version, canonical.VERSION),
            ("framing of photos", manifest.framing_version, FRAMING_VERSION),
        ):
            if version != expected:
                raise ReleaseError(
                    f"{file}: found {name} of version {version}; expected {expected}: serve it with the "
                    f"package version that built it, or {REPAIR}"
                )
        try:
            folder = cache or Path(os.environ.get(CACHE_VARIABLE) or tempfile.gettempdir())
        except FileNotFoundError as error:
            raise cache_error(Path("temporary folder"), error) from error
        files = _fetch(lake, manifest, folder)
        tables = open_vector_tables(lake, manifest, folder, vector_cache_bytes, vector_disk_bytes)
        parsing: Sequence[ArtifactName] = ("encoder",)
        try:
            encoder, index = None, Index.empty()
            if "photo_search" not in manifest.lacks:
                load_encoder = partial(Encoder.from_bytes, threads=encoder_threads)
                encoder = _load_model(manifest, files, parsing, load_encoder, encoder_threads)
                parsing = ("image_index", "image_index_ids")
                index = _load_table(files, parsing, Index.from_bytes, folder, tables)
            parsing = ("listings",)
            listings = _load_table(files, parsing, read_listings, folder)
            parsing = ("release_photos",)
            photos = PhotoStore.open(files["release_photos"].content, lake, folder)
            release_pages()
            parsing = ("release_display_photos",)
            display_photos = PhotoStore.open(files["release_display_photos"].content, lake, folder)
            parsing = ("descriptions",)
            descriptions = Descriptions.from_bytes(files["descriptions"].content)
            search = None
            if manifest.is_searchable:
                fields = {}
                for field, (names, load) in (TABLES | MODELS).items():
                    present = files.keys() | tables.keys()
                    parsing = tuple(n for n in names if n in present or n not in DUAL_ENCODER)
                    if not present >= set(parsing):
                        continue
                    fields[field] = (
                        _load_table(files, parsing, load, folder, tables)
                        if field in TABLES
                        else _load_model(manifest, files, parsing, load)
                    )
                search = SearchArtifacts(**fields)
            parsing = ("provenance",)
            provenance = (
                ProvenanceTable(files["provenance"].content) if "provenance" in files else None
            )
        except ReleaseError:
            raise
        except ValueError as error:
            raise ReleaseError(f"{_files(lake, manifest, parsing)}: {error}; {REPAIR}") from error
        except OSError as error:
            raise cache_error(folder, error) from error
        release = cls(
            manifest,
            encoder,
            index,
            listings,
            photos,
            display_photos,
            descriptions,
            provenance,
            search,
        )
        try:
            _check(lake, release)
        except OSError as error:
            raise unreadable(file, error) from error
        return release


def _files(lake: Lake, manifest: Manifest, names: Sequence[ArtifactName]) -> str:
    return " with ".join(lake.name(manifest.path_of(name)) for name in names)


def _check(lake: Lake, release: Release) -> None:
    """Raise ReleaseError if the artifacts do not match, or a canary is not reproduced."""
    manifest = release.manifest
    problem = next(filter(None, (check(release) for check in _CHECKS)), None)
    if problem:
        raise ReleaseError(f"{lake.name(manifest_path(manifest.version))}: {problem}; {REPAIR}")
    mismatch = _check_search(release)
    release_pages()
    if mismatch:
        raise ReleaseError(
            f"{_files(lake, manifest, mismatch.artifacts)}: {mismatch.message}; {REPAIR}"
        )


Check = Callable[[Release], str | None]
"""Returns a problem of a release, or None."""


def _fetch(lake: Lake, manifest: Manifest, folder: Path) -> dict[ArtifactName, PrivateFile]:
    try:
        return fetch_verified(lake, manifest.artifacts, folder)
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ReleaseError(f"{error}; {REPAIR}") from None


def _load_table(
    files: Mapping[ArtifactName, PrivateFile],
    names: Sequence[ArtifactName],
    load: Callable[..., Loaded],
    folder: Path,
    tables: Mapping[ArtifactName, IndexLoader] = MappingProxyType({}),
) -> Loaded:
    """Load artifacts that stay in files. An index is mapped by FAISS, from its own file, or is a table."""
    if names[0] in tables:
        load, names = cast(Callable[..., Loaded], tables[names[0]]), names[1:]
    contents = (
        files[name] if name in INDEXES and len(files[name].content) else files[name].content
        for name in names
    )
    loaded = load(*contents, folder=folder)
    release_pages()
    return loaded


def _load_model(
    manifest: Manifest,
    files: Mapping[ArtifactName, PrivateFile],
    names: Sequence[ArtifactName],
    load: Callable[..., Any],
    *options: object,
) -> Any:
    """Load artifacts into memory, or share those of another open release, if they are the same."""
    key = (*names, *(manifest.artifacts[name].sha256 for name in names), *options)
    model = _models.get(key)
    if model is None:
        model = load(*(files[name].read_all() for name in names))
        # A named tuple, which is small, has no weak references.
        with contextlib.suppress(TypeError):
            _models[key] = model
    return model


def _check_sizes(release: Release) -> str | None:
    """Return the first mismatch of labels, embeddings and listings, or None."""
    manifest, encoder, index = release.manifest, release.encoder, release.index
    if encoder is None:
        return None
    if manifest.labels and len(manifest.labels) != encoder.classes:
        return f"found {len(manifest.labels)} labels; expected {encoder.classes}, one per encoder class"
    sizes = (manifest.embedding_dimension, encoder.dimension, index.dimension)
    if len(set(sizes)) != 1:
        return (
            f"found embedding dimensions {sizes[0]} (manifest), {sizes[1]} (encoder) and "
            f"{sizes[2]} (index); expected equal dimensions"
        )
    known = release.listings.ids.find_all(index.product_ids) >= 0
    if not known.all():
        unknown = sorted({index.product_ids[row] for row in np.flatnonzero(~known).tolist()})
        return (
            f"found {len(unknown):,} products of the index without a listing, such as "
            f"{unknown[0]}; expected none"
        )
    return None


def _check_descriptions(release: Release) -> str | None:
    """Return a message if the descriptions are not those of the listings, or None."""
    ids = release.descriptions.product_ids
    if ids == release.listings.ids.sorted():
        return None
    return (
        f"found {len(ids):,} descriptions; expected one for each of {len(release.listings):,} "
        "listings, in the order of their ids"
    )


def _check_photos_of_index(release: Release) -> str | None:
    """Return a message if the index has photos that cannot be displayed, or None."""
    ids = release.index.image_ids
    has_photo = release.photos.locations.ids.find_all(ids) >= 0
    if not has_photo.all():
        missing = sorted(ids[row] for row in np.flatnonzero(~has_photo).tolist())
        return (
            f"found {len(missing):,} photos of the index that are not in release_photos, such as "
            f"{missing[0]}; expected none"
        )
    return None


def _check_search(release: Release) -> ArtifactMismatch | None:
    """Return the first mismatch of the artifacts of text search, or None."""
    search = release.search
    if search is None:
        return None
    return search.find_mismatch(release.listings.ids.sorted(), release.index.image_ids) or (
        search.check_canaries(release.manifest.text_canaries)
    )


def _check_canaries(release: Release) -> str | None:
    """Return the first canary that is not reproduced, and how it differs, or None."""
    if release.encoder is None:
        return None
    for canary in release.manifest.canaries:
        problem = _check_canary(release.encoder, release.index, canary)
        if problem:
            return f"canary {canary.image_id}: {problem}"
    return None


def _check_canary(encoder: Encoder, index: Index, canary: Canary) -> str | None:
    try:
        pixels = canonical.decode_canonical(canary.jpeg)
    except (ValueError, OSError) as error:
        return f"the photo cannot be read ({error}); expected a canonical photo"
    encoding = encoder.encode(pixels[np.newaxis])
    embedding = encoding.embeddings[0]
    return (
        _difference("probabilities", encoding.probabilities[0], canary.probabilities)
        or _difference("the embedding", embedding, canary.embedding)
        # Cosines are computed from distances, which is valid for unit vectors only.
        or _difference("the embedding's length", np.linalg.norm(embedding), 1.0)
        or _check_neighbors(index, embedding, canary)
    )


def _difference(name: str, values: ArrayLike, expected: ArrayLike) -> str | None:
    values, expected = np.asarray(values), np.asarray(expected)
    if values.shape != expected.shape:
        return f"found {name} with {values.size} values; expected {expected.size}"
    difference = float(np.abs(values - expected).max())
    # "not <=" so that NaN fails too.
    if not difference <= TOLERANCE:
        return f"found {name} off by {difference:.2g}; expected at most {TOLERANCE:g}"
    return None


def _check_neighbors(index: Index, embedding: NDArray[np.float32], canary: Canary) -> str | None:
    """Return a message if the index lacks the canary's photo or has another nearest neighbor, or None."""
    # With a filter, so that the search is exact: a graph may not reach every photo that it contains.
    own = _distance(index, embedding, canary.image_id)
    if own is None:
        return (
            f"the photo is not among the {len(index):,} rows of the index: they come from different "
            "versions"
        )
    # "not <=" so that NaN fails too.
    if not own <= TOLERANCE:
        return (
            f"found the photo's vector in the index at distance {own:.2g} (squared L2); expected at most "
            f"{TOLERANCE:g}: the index was built with another encoder"
        )
    expected = canary.neighbors[0]
    nearest = index.image_ids[index.search(embedding, 1).rows[0]]
    if nearest == expected:
        return None
    distance = _distance(index, embedding, expected)
    if distance is not None and distance <= own + TOLERANCE:
        return None
    return f"found {nearest} as the nearest photo; expected {expected}"


def _distance(index: Index, embedding: NDArray[np.float32], image_id: str) -> float | None:
    """Return the squared L2 distance from an embedding to a photo; None if the index lacks the photo."""
    row = index.image_ids.find(image_id)
    if row is None:
        return None
    return float(index.search(embedding, 1, [row]).distances[0])


def _then_release_pages(check: Check) -> Check:
    """Return a check that releases, at its end, the mapped pages that it has read."""

    def run(release: Release) -> str | None:
        try:
            return check(release)
        finally:
            release_pages()

    return run


_CHECKS: Final = tuple(
    map(
        _then_release_pages,
        (_check_sizes, _check_descriptions, _check_canaries, _check_photos_of_index),
    )
)
