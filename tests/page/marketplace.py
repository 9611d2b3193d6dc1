"""A marketplace of 24 chairs in three colours, published as a release in a folder."""

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.release import Canary, Manifest, artifact_of, publish

LABELS = ("Reds", "Greens", "Blues")
SHADES = 8
MARKUP = "<i>Red</i> chair & table"


def photo(hue: int, shade: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """Paint a JPEG of one colour: 0 is red, 1 green, 2 blue; a higher shade is greyer."""
    colour = [20 + 14 * shade] * 3
    colour[hue] = 240 - 10 * shade
    buffer = io.BytesIO()
    Image.new("RGB", size, tuple(colour)).save(buffer, "JPEG")
    return buffer.getvalue()


def publish_marketplace(lake: Path, encoder: bytes) -> None:
    """Publish a release whose chairs cost 0, 10, …, 60 pounds, and the greyest nothing said."""
    chairs = [(hue, shade) for hue in range(len(LABELS)) for shade in range(SHADES)]
    image_ids = [f"img-{LABELS[hue]}-{shade}" for hue, shade in chairs]
    product_ids = [f"prd-{LABELS[hue]}-{shade}" for hue, shade in chairs]
    canonical = [photos.canonical(photo(hue, shade)) for hue, shade in chairs]
    encoding = Encoder.from_bytes(encoder, threads=1).encode(
        np.stack([photos.pixels(jpeg) for jpeg in canonical])
    )
    index = Index.build_flat(encoding.embeddings, image_ids, product_ids)
    index_bytes, ids_bytes = index.to_bytes()
    categories = [LABELS[hue] for hue, _ in chairs]
    titles = [f"{LABELS[hue][:-1]} chair {shade}" for hue, shade in chairs]
    titles[1] = MARKUP
    listings = {
        "product_id": product_ids,
        "title": titles,
        "price": pa.array([10.0 * s if s < SHADES - 1 else None for _, s in chairs], pa.float64()),
        "currency": ["GBP"] * len(chairs),
        "category": categories,
        "category_path": [f"{category} / Chairs" for category in categories],
        "town": pa.array(["Leeds" if shade != 2 else None for _, shade in chairs], pa.string()),
        "county": pa.array([None] * len(chairs), pa.string()),
    }
    model = lake / "model"
    model.mkdir(parents=True)
    (model / "encoder.onnx").write_bytes(encoder)
    (model / "index.faiss").write_bytes(index_bytes)
    (model / "ids.parquet").write_bytes(ids_bytes)
    pq.write_table(pa.table(listings), model / "listings.parquet")
    pq.write_table(
        pa.table({"image_id": image_ids, "jpeg": pa.array(canonical, pa.binary())}),
        model / "photos.parquet",
    )
    files = {"encoder": "encoder.onnx", "index": "index.faiss", "ids": "ids.parquet"}
    files["listings"] = "listings.parquet"
    nearest = index.search(encoding.embeddings[0], 3)
    manifest = Manifest(
        version="chairs",
        created="2026-03-01T12:00:00Z",
        code_revision="abc123",
        data_digest="d" * 64,
        artifacts={name: artifact_of(str(lake), f"model/{file}") for name, file in files.items()},
        labels=LABELS,
        photos_version=photos.VERSION,
        embedding_dimension=index.dimension,
        counts={"photos": len(chairs), "products": len(chairs)},
        metrics={},
        canaries=(
            Canary(
                image_id=image_ids[0],
                photo=base64.b64encode(canonical[0]).decode(),
                probabilities=encoding.probabilities[0].tolist(),
                embedding=encoding.embeddings[0].tolist(),
                neighbours=[image_ids[row] for row in nearest.rows],
            ),
        ),
    )
    publish(str(lake), manifest)
