"""Fixtures shared by all tiers: parameters, photos and a small encoder."""

import gc
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fb_marketplace.parameters.cleaning import CleaningParameters
from fb_marketplace.schemas.lance import IMAGES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical

pytest_plugins = ["support.serving_fixtures"]

ROOT = Path(__file__).parents[1]

DrawPhoto = Callable[..., bytes]
StorePhotos = Callable[..., Table]


def pytest_collection_finish() -> None:
    """Collect garbage rarely, and never from imported modules. It took a sixth of the time."""
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


@pytest.fixture(scope="session")
def base_parameters() -> dict[str, Any]:
    """The parameters that stand in ``conf/base``, as written."""
    result: dict[str, Any] = {}
    for file in sorted((ROOT / "conf/base").glob("parameters_*.yml")):
        result |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="session")
def cleaning(base_parameters: dict[str, Any]) -> CleaningParameters:
    return CleaningParameters.model_validate(base_parameters["cleaning"])


@pytest.fixture(scope="session")
def draw_photo() -> DrawPhoto:
    """Draws a textured photo; another seed gives another picture."""

    def draw(seed: int = 0, size: tuple[int, int] = (64, 48), format_: str = "JPEG") -> bytes:
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(buffer, format_)
        return buffer.getvalue()

    return draw


@pytest.fixture(scope="session")
def store_photos_at() -> Callable[[str, Mapping[str, bytes]], Table]:
    """Stores photos in a table at a path, as cleaning does, with made-up sources."""

    def store(url: str, result: Mapping[str, bytes]) -> Table:
        from fb_marketplace.pipelines.cleaning.perceptual_hash import perceptual_hash
        from fb_marketplace.storage.fingerprints import sha256

        rows = []
        for image_id, data in result.items():
            photo = canonical.read_photo(data)
            rows.append(
                {
                    "key": f"key of {image_id}",
                    "image_id": image_id,
                    "product_id": f"product of {image_id}",
                    "source_key": f"{image_id}.jpg",
                    "source_etag": "tag",
                    "source_size": len(data),
                    "source_sha256": sha256(data),
                    "format": photo.format,
                    "width": photo.width,
                    "height": photo.height,
                    "jpeg": photo.jpeg,
                    "sha256": sha256(photo.jpeg),
                    "perceptual_hash": perceptual_hash(photo.jpeg).tolist(),
                }
            )
        keyed_table.ensure_table(url, IMAGES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGES))
        return keyed_table.open_table(url)

    return store


@pytest.fixture
def store_photos(
    tmp_path: Path, store_photos_at: Callable[[str, Mapping[str, bytes]], Table]
) -> StorePhotos:
    """Stores photos in a table of the test's own."""

    def store(result: Mapping[str, bytes], name: str = "images.lance") -> Table:
        return store_photos_at(str(tmp_path / name), result)

    return store


@pytest.fixture(scope="session")
def colour_encoder() -> bytes:
    """An ONNX encoder: three classes, and a photo's mean colour at length one as embedding."""
    constants = {"bright": np.float32([9 / 255]), "across": np.int64([1, 2])}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "across"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "bright"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("LpNormalization", ["colour"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [
            helper.make_tensor_value_info(
                "pixels", TensorProto.UINT8, ["n", canonical.SIDE, canonical.SIDE, 3]
            )
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
            for name in ("probabilities", "embedding")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
