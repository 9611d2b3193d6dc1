"""A release of a few photos, in a folder, made in a moment."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from support.builders import small_search

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical as photos
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION
from fb_marketplace_serving.release.descriptions import write_descriptions
from fb_marketplace_serving.release.manifest import Abstention, Canary, Manifest, artifact_of
from fb_marketplace_serving.release.photo_store import COLUMNS, FOLDER, file_name
from fb_marketplace_serving.storage.lake import Lake

FILES = {
    "encoder": "encoder.onnx",
    "image_index": "index.faiss",
    "image_index_ids": "ids.parquet",
    "listings": "listings.parquet",
    "descriptions": "descriptions.parquet",
    "release_photos": "photos.parquet",
    "release_display_photos": "display_photos.parquet",
    "release_measures": "measures.parquet",
}


def draw_display(name: str) -> bytes:
    """Draw a photo of one colour, ``img-red``, as large as a display rendition."""
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), name.removeprefix("img-")).save(buffer, "JPEG")
    return buffer.getvalue()


def make_release(
    lake: Path,
    encoder: bytes,
    canonical: Mapping[str, bytes],
    listings: pa.Table,
    labels: Sequence[str],
    *,
    version: str = "v1",
    folder: str = "model",
    canary: int = 0,
    of: Sequence[str] | None = None,
    searchable: bool = False,
    same: Mapping[str, str] | None = None,
    displays: Mapping[str, bytes] | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> Manifest:
    """Write the artifacts of a release below a folder of a lake, and give its manifest, unpublished.

    Each photo is of the listing in the same row, where no others are named.

    Args:
        lake: its root.
        encoder: an ONNX graph.
        canonical: the photos, by id.
        listings: the listings.
        labels: names of the encoder's classes.
        version: what it is called.
        folder: where its artifacts are.
        canary: the number of the photo that is its canary.
        of: the listing of each photo.
        searchable: whether it can be searched by words.
        same: listings that show the same as another, by that other.
        displays: display renditions of photos, by id.
        descriptions: descriptions by listing; one of a title where it has none.
    """
    root = lake / folder
    root.mkdir(parents=True)
    ids = list(canonical)
    pixels = np.stack([photos.decode_canonical(jpeg) for jpeg in canonical.values()])
    encoding = Encoder.from_bytes(encoder, threads=1).encode(pixels)
    products = of or listings.column("product_id").to_pylist()
    index = Index.build_flat(encoding.embeddings, ids, products)
    index_bytes, ids_bytes = index.to_bytes()
    (root / FILES["encoder"]).write_bytes(encoder)
    (root / FILES["image_index"]).write_bytes(index_bytes)
    (root / FILES["image_index_ids"]).write_bytes(ids_bytes)
    pq.write_table(listings, root / FILES["listings"])
    rows = sorted(listings.to_pylist(), key=lambda row: row["product_id"])
    texts = {row["product_id"]: f"About: {row['title']}" for row in rows} | (descriptions or {})
    (root / FILES["descriptions"]).write_bytes(write_descriptions([*texts], [*texts.values()]))
    for name, photos_ in (
        ("release_photos", canonical),
        ("release_display_photos", displays or {}),
    ):
        pq.write_table(_store_photos(lake, photos_), root / FILES[name])
    measures = {"measure": ["photo_top1"], "case": [ids[0]], "group_id": ["g"], "value": [1.0]}
    pq.write_table(pa.table(measures), root / FILES["release_measures"])
    files = dict(FILES)
    if searchable:
        parts = small_search.make_parts(listings, ids, products, same)
        files |= {name: small_search.FILES[name] for name in parts}
        for name, data in parts.items():
            (root / files[name]).write_bytes(data)
    nearest = index.search(encoding.embeddings[canary], 3)
    return Manifest(
        version=version,
        created="2026-03-01T12:00:00Z",
        code_revision="abc123",
        data_digest="d" * 64,
        artifacts={
            name: artifact_of(Lake(str(lake)), f"{folder}/{file}") for name, file in files.items()
        },
        labels=tuple(labels),
        abstention=Abstention(threshold=0.6, error=0.05),
        photos_version=photos.VERSION,
        framing_version=FRAMING_VERSION,
        embedding_dimension=index.dimension,
        counts={"photos": len(ids), "products": len(set(index.product_ids))},
        metrics={"accuracy": 0.5},
        canaries=(
            Canary(
                image_id=ids[canary],
                photo=base64.b64encode(canonical[ids[canary]]).decode(),
                probabilities=encoding.probabilities[canary].tolist(),
                embedding=encoding.embeddings[canary].tolist(),
                neighbors=[ids[row] for row in nearest.rows],
            ),
        ),
        text_canaries=small_search.text_canaries("red chair", "an old lamp") if searchable else (),
    )


def _store_photos(lake: Path, result: Mapping[str, bytes]) -> pa.Table:
    """Write photos into two files like the release pipeline and return their positions."""
    rows, names = [], sorted(result)
    for part in filter(None, (names[:2], names[2:])):
        data = b"".join(result[name] for name in part)
        file, offset = f"{FOLDER}/{file_name(hashlib.sha256(data).hexdigest())}", 0
        (lake / FOLDER).mkdir(parents=True, exist_ok=True)
        (lake / file).write_bytes(data)
        for name in part:
            size, digest = len(result[name]), hashlib.sha256(result[name]).digest()
            rows.append(
                {"image_id": name, "file": file, "offset": offset, "bytes": size, "sha256": digest}
            )
            offset += size
    types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary())
    return pa.Table.from_pylist(rows, pa.schema(list(zip(COLUMNS, types, strict=True))))
