"""A lake with one tiny release: its encoder knows a photo by its mean colour."""

import base64
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import fb_marketplace_serving
from fb_marketplace_serving import photos
from fb_marketplace_serving.encoder import Encoder
from fb_marketplace_serving.index import Index
from fb_marketplace_serving.photo_files import FOLDER, file_name
from fb_marketplace_serving.release import (
    Abstention,
    Canary,
    Manifest,
    Release,
    artifact_of,
    publish,
)

LABELS = ("Reds", "Greens", "Blues")
DIMENSION = 8
COLOURS = {
    "img-red": (220, 30, 30),
    "img-green": (30, 200, 40),
    "img-blue": (20, 40, 210),
    "img-yellow": (230, 220, 40),
    "img-grey": (128, 128, 128),
}

BuildEncoder = Callable[..., bytes]
Paint = Callable[..., bytes]


def _build_encoder(
    *,
    classes: int = len(LABELS),
    dimension: int = DIMENSION,
    input_name: str = "pixels",
    input_type: int = TensorProto.UINT8,
    batch: int | str = "n",
    side: int = photos.SIDE,
    embedding_name: str = "embedding",
    seed: int = 7,
) -> bytes:
    """Mean colour → two linear heads: one through a softmax, one scaled to length one."""
    random = np.random.default_rng(seed)
    heads = {
        "to_classes": np.eye(3, classes, dtype=np.float32) * 9,
        "to_embedding": random.normal(size=(3, dimension)).astype(np.float32),
        "white": np.float32([255]),
        "across": np.int64([1, 2]),
    }
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "across"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["colour"]),
        helper.make_node("MatMul", ["colour", "to_classes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["colour", "to_embedding"], ["long"]),
        helper.make_node("LpNormalization", ["long"], [embedding_name], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [helper.make_tensor_value_info(input_name, input_type, [batch, side, side, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, classes]),
            helper.make_tensor_value_info(embedding_name, TensorProto.FLOAT, [batch, dimension]),
        ],
        [numpy_helper.from_array(value, name) for name, value in heads.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _paint(
    colour: object = (220, 30, 30), size: tuple[int, int] = (320, 240), format_: str = "JPEG"
) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.fixture(scope="session")
def build_encoder() -> BuildEncoder:
    return _build_encoder


@pytest.fixture(scope="session")
def paint() -> Paint:
    return _paint


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.from_bytes(_build_encoder(), threads=1)


@pytest.fixture(scope="session")
def canonical_photos() -> dict[str, bytes]:
    return {name: photos.canonical(_paint(colour)) for name, colour in COLOURS.items()}


@pytest.fixture
def listing_columns() -> dict[str, pa.Array]:
    count = len(COLOURS)
    return {
        "product_id": pa.array([f"prd-{name[4:]}" for name in COLOURS], pa.string()),
        "title": pa.array([f"A {name[4:]} chair" for name in COLOURS], pa.string()),
        "price": pa.array([10.0, 20.5, None, float("nan"), 1000.0], pa.float64()),
        "currency": pa.array(["GBP"] * count, pa.string()),
        "category": pa.array(["Home & Garden"] * count, pa.string()),
        "category_path": pa.array(["Home & Garden / Chairs"] * count, pa.string()),
        "town": pa.array(["Leeds", None, "York", "Bath", "Hull"], pa.string()),
        "county": pa.array([None] * count, pa.string()),
    }


def _store_photos(root: Path, found: dict[str, bytes]) -> None:
    """Put photos into two files as the release pipeline does, and say where each is."""
    rows, names = [], sorted(found)
    for part in (names[:2], names[2:]):
        data = b"".join(found[name] for name in part)
        file, offset = f"{FOLDER}/{file_name(hashlib.sha256(data).hexdigest())}", 0
        (root / FOLDER).mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(data)
        for name in part:
            size, digest = len(found[name]), hashlib.sha256(found[name]).digest()
            rows.append(
                {"image_id": name, "file": file, "offset": offset, "bytes": size, "sha256": digest}
            )
            offset += size
    pq.write_table(pa.Table.from_pylist(rows), root / "model/photos.parquet")


@pytest.fixture
def draft(
    tmp_path: Path,
    encoder: Encoder,
    canonical_photos: dict[str, bytes],
    listing_columns: dict[str, pa.Array],
) -> Manifest:
    """The manifest of a release whose artifacts lie in ``tmp_path``; not yet published."""
    pixels: NDArray[np.uint8] = np.stack(
        [photos.pixels(each) for each in canonical_photos.values()]
    )
    encoding = encoder.encode(pixels)
    ids = list(canonical_photos)
    index = Index.build_flat(encoding.embeddings, ids, [f"prd-{each[4:]}" for each in ids])
    index_bytes, ids_bytes = index.to_bytes()
    (tmp_path / "model").mkdir()
    (tmp_path / "model/encoder.onnx").write_bytes(_build_encoder())
    (tmp_path / "model/index.faiss").write_bytes(index_bytes)
    (tmp_path / "model/ids.parquet").write_bytes(ids_bytes)
    pq.write_table(pa.table(listing_columns), tmp_path / "model/listings.parquet")
    _store_photos(tmp_path, canonical_photos)
    measures = {"measure": ["photo_top1"], "case": [ids[0]], "group_id": ["g"], "value": [1.0]}
    pq.write_table(pa.table(measures), tmp_path / "model/measures.parquet")
    lake = str(tmp_path)
    nearest = index.search(encoding.embeddings[1], 3)
    return Manifest(
        version="v1",
        created="2026-03-01T12:00:00Z",
        code_revision="abc123",
        data_digest="d" * 64,
        artifacts={
            "encoder": artifact_of(lake, "model/encoder.onnx"),
            "index": artifact_of(lake, "model/index.faiss"),
            "ids": artifact_of(lake, "model/ids.parquet"),
            "listings": artifact_of(lake, "model/listings.parquet"),
            "photos": artifact_of(lake, "model/photos.parquet"),
            "measures": artifact_of(lake, "model/measures.parquet"),
        },
        labels=LABELS,
        abstention=Abstention(threshold=0.6, error=0.05),
        photos_version=photos.VERSION,
        embedding_dimension=DIMENSION,
        counts={"images": len(ids)},
        metrics={"accuracy": 0.5},
        canaries=(
            Canary(
                image_id=ids[1],
                photo=base64.b64encode(canonical_photos[ids[1]]).decode(),
                probabilities=encoding.probabilities[1].tolist(),
                embedding=encoding.embeddings[1].tolist(),
                neighbours=[ids[row] for row in nearest.rows],
            ),
        ),
    )


@pytest.fixture
def lake(tmp_path: Path, draft: Manifest) -> str:
    publish(str(tmp_path), draft)
    return str(tmp_path)


@pytest.fixture
def release(lake: str) -> Release:
    return Release.open(lake)


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that is to import the package under test."""
    source = str(Path(fb_marketplace_serving.__file__).parents[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FB_")}
    return kept | {"PYTHONPATH": source}
