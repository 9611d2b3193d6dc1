from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace.parameters.indexing import IndexParameters, RetrievalParameters
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS, VISION_FEATURES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import Table

StoreAngles = Callable[[Mapping[str, float]], Table]


@pytest.fixture(scope="session")
def parameters(base_parameters) -> IndexParameters:
    return IndexParameters.model_validate(base_parameters["indexing"])


@pytest.fixture(scope="session")
def measuring(base_parameters) -> RetrievalParameters:
    few = {"bootstrap_samples": 20, "thumbnail_size": 8, "sheet_queries": 4, "sheet_hits": 2}
    return RetrievalParameters.model_validate(base_parameters["retrieval"] | few)


@pytest.fixture
def store_angles(tmp_path) -> StoreAngles:
    """Stores photos as points on a circle, by their angle in degrees."""

    def store(angles: Mapping[str, float]) -> Table:
        url = str(tmp_path / "embeddings.lance")
        rows = [
            {
                "key": image,
                "image_id": image,
                "image_sha256": "",
                "encoder_sha256": "",
                "probabilities": [1.0],
                "embedding": [np.cos(np.radians(angle)), np.sin(np.radians(angle))],
            }
            for image, angle in angles.items()
        ]
        keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS))
        return keyed_table.open_table(url)

    return store


@pytest.fixture
def store_features(tmp_path) -> Callable[[Mapping[str, Sequence[float]]], Table]:
    """Store backbone features by photo."""

    def store(features: Mapping[str, Sequence[float]]) -> Table:
        url = str(tmp_path / "features.lance")
        rows = [
            {"key": image, "image_id": image, "features": result}
            for image, result in features.items()
        ]
        keyed_table.ensure_table(url, VISION_FEATURES)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
        return keyed_table.open_table(url)

    return store
