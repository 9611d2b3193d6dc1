"""A lake whose release repeats the listings of a real one.

Texts and photos are the same. Vectors are points between real neighbors.
Versions ``v1`` and ``v2`` have the same files. ``v1`` is current, so that a benchmark can publish ``v2``.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from search_vectors import enlarge

from fb_marketplace_serving.ann.build import build_index, flat_index, search_settings
from fb_marketplace_serving.ann.faiss_index import FaissIndex, Kind
from fb_marketplace_serving.ann.index import COUNT, DIMENSION, SHA256, Index
from fb_marketplace_serving.release.manifest import Artifact, Manifest, artifact_of
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import publish, read_current
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.parquet import ROWS_PER_GROUP

VERSIONS: Final = ("v1", "v2")
SETTING: Final = 6
"""Number of the search setting of the indexes, out of those that the pipeline would try."""


class Repeats(NamedTuple):
    """Rows of a table that repeat the rows of a real one, sorted by id.

    Attributes:
        source: int64, (rows,), the real row of each.
        turn: int64, (rows,), 0 for the first repeat of a row, which has its id.
    """

    source: NDArray[np.int64]
    turn: NDArray[np.int64]

    @classmethod
    def spread(cls, real: int, size: int) -> "Repeats":
        """Spread repeats evenly over the real rows."""
        counts = size // real + (np.arange(real) < size % real)
        source = np.repeat(np.arange(real), counts)
        return cls(source, np.arange(size) - (np.cumsum(counts) - counts)[source])

    def rename(self, ids: Sequence[str]) -> list[str]:
        """Return the ids of the rows."""
        pairs = zip(self.source.tolist(), self.turn.tolist(), strict=True)
        return [f"{ids[row]}-{turn:04}" if turn else ids[row] for row, turn in pairs]


def make_large_lake(real: str, folder: Path, size: int, kind: Kind = "ivf_rabitq") -> None:
    """Create a lake with releases of this many listings.

    Args:
        real: root of a local lake with a release that supports text search.
        folder: a new folder.
        size: number of listings, at least as many as the real release has.
        kind: kind of the nearest-neighbor indexes.
    """
    lake = Lake(real)
    manifest = read_current(lake)
    paths = {name: Path(lake.full_path(file.path)) for name, file in manifest.artifacts.items()}
    (folder / FOLDER).parent.mkdir(parents=True)
    (folder / FOLDER).symlink_to(Path(lake.full_path(FOLDER)).absolute())
    products = pq.read_table(paths["listing_features"], columns=["product_id"]).column(0)
    ids = products.to_pylist()
    repeats = Repeats.spread(len(ids), size)
    names = repeats.rename(ids)
    artifacts = dict(manifest.artifacts)

    def save(name: Any, write: Callable[[Path], object]) -> None:
        write(folder / name)
        artifacts[name] = artifact_of(Lake(str(folder)), name)

    # Copies, not links: a write through a link would change the real lake.
    for name in set(paths):
        save(name, lambda path, name=name: shutil.copyfile(paths[name], path))
    for name in ("listings", "listing_features", "descriptions", "provenance", "price_insights"):
        table = pq.read_table(paths[name]).take(repeats.source)
        table = table.set_column(0, "product_id", pa.array(names))
        if name == "listing_features":
            families = table.column("family").to_pylist()
            pairs = zip(repeats.turn.tolist(), families, strict=True)
            renamed = [f"{turn}-{family}" for turn, family in pairs]
            table = table.set_column(1, "family", pa.array(renamed))
        save(name, lambda path, table=table: _write(table, path))
    save("word_index", lambda path: path.write_bytes(_repeat_words(paths["word_index"], repeats)))
    photo_ids = pq.read_table(paths["image_index_ids"])
    photos = Repeats.spread(len(photo_ids), round(size * len(photo_ids) / len(ids)))
    stored = pq.read_table(paths["release_photos"])
    repeated = Repeats.spread(len(stored), len(photos.source))
    renamed = repeated.rename(stored.column(0).to_pylist())
    table = stored.take(repeated.source).set_column(0, "image_id", pa.array(renamed))
    save("release_photos", lambda path: _write(table, path))
    copies = np.bincount(repeats.source)
    position = {product: number for number, product in enumerate(ids)}
    owners = [position[name] for name in photo_ids.column("product_id").to_pylist()]
    owner_turns = photos.turn % copies[owners][photos.source]
    owner = Repeats(np.array(owners)[photos.source], owner_turns).rename(ids)
    image = photos.rename(photo_ids.column("image_id").to_pylist())
    rows = {
        "image_index": (image, owner, photos),
        "text_to_image_index": (image, owner, photos),
        "text_index": (names, names, repeats),
    }
    for name, (images, listed, repeated) in rows.items():
        vectors = _enlarge_index(name, paths, repeated, kind)
        save(name, lambda path, vectors=vectors: faiss.write_index(vectors.faiss_index, str(path)))
        metadata = {
            SHA256: artifacts[name].sha256,
            COUNT: str(len(vectors)),
            DIMENSION: str(vectors.dimension),
        }
        table = pa.table({"image_id": images, "product_id": listed})
        table = table.replace_schema_metadata(metadata)
        save(f"{name}_ids", lambda path, table=table: _write(table, path))
    for version in reversed(VERSIONS):
        _publish(Lake(str(folder)), manifest, artifacts, version, size)


def _publish(
    lake: Lake, manifest: Manifest, artifacts: dict[Any, Artifact], version: str, size: int
) -> None:
    counts = manifest.counts | {"products": size}
    update = {"version": version, "artifacts": artifacts, "counts": counts}
    publish(lake, manifest.model_copy(update=update))


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd", row_group_size=_group_size(path.name))


def _group_size(name: str) -> int | None:
    return ROWS_PER_GROUP if name in ("descriptions", "provenance") else None


def _enlarge_index(name: str, paths: dict[Any, Path], repeated: Repeats, kind: Kind) -> FaissIndex:
    """Return an index of more vectors. The first repeat of a row has its vector."""
    real = Index.from_bytes(paths[name].read_bytes(), paths[f"{name}_ids"].read_bytes())
    vectors = real.vectors(np.arange(len(real)))
    if kind == "hnsw" and len(repeated.source) == len(vectors):
        kind = "flat"
    larger = enlarge(vectors, len(repeated.source))
    row = np.empty(len(larger), np.int64)
    is_first = repeated.turn == 0
    row[is_first] = np.arange(len(vectors))
    row[~is_first] = np.arange(len(vectors), len(larger))
    index = build_index(kind, flat_index([larger[row]], len(row)))
    settings = list(search_settings(index))
    index.set_search_params(settings[min(SETTING, len(settings) - 1)])
    return index


def _repeat_words(path: Path, repeats: Repeats) -> bytes:
    """Return a word index in which repeats have the terms of their real listing."""
    vocabulary, starts, rows, scores, in_title = BM25Index.from_bytes(path.read_bytes()).matrix
    copies = np.bincount(repeats.source)
    first = np.cumsum(copies) - copies
    counts = copies[rows]
    entry = np.repeat(np.arange(len(rows)), counts)
    turn = np.arange(len(entry)) - (np.cumsum(counts) - counts)[entry]
    ends = np.concatenate([[0], np.cumsum(counts)])[starts]
    return BM25Index(
        vocabulary,
        ends.astype(np.int64),
        (first[rows[entry]] + turn).astype(np.int32),
        scores[entry],
        len(repeats.source),
        in_title[entry],
    ).to_bytes()
