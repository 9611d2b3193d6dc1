from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from fb_marketplace.parameters.indexing import IndexParameters
from fb_marketplace.parameters.ranking import (
    RankerParameters,
    RankingEvaluationParameters,
    RelevanceParameters,
)
from fb_marketplace.parameters.text import (
    BM25Parameters,
    ProjectionParameters,
    TextEncoderParameters,
)
from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS, VISION_FEATURES
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table

StoreRows = Callable[[str, pa.Schema, Sequence[Mapping[str, Any]]], Table]
StoreFile = Callable[[str, bytes], FileRef]


@pytest.fixture
def store_rows(tmp_path) -> StoreRows:
    """Stores rows in a table of the test's own."""

    def store(name: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> Table:
        url = str(tmp_path / f"{name}.lance")
        keyed_table.ensure_table(url, schema)
        table_writer.insert(url, pa.Table.from_pylist(list(rows), schema=schema))
        return keyed_table.open_table(url)

    return store


@pytest.fixture
def store_text_embeddings(store_rows: StoreRows) -> Callable[..., Table]:
    """Store text embeddings by listing."""

    def store(vectors: Mapping[str, Any], name: str = "text_embeddings") -> Table:
        rows = [
            {"key": item, "product_id": item, "embedding": vector}
            for item, vector in vectors.items()
        ]
        return store_rows(name, TEXT_EMBEDDINGS, rows)

    return store


@pytest.fixture
def store_features(store_rows: StoreRows) -> Callable[..., Table]:
    """Stores features of photos, by photo."""

    def store(features: Mapping[str, Any], name: str = "vision_features") -> Table:
        rows = [
            {"key": item, "image_id": item, "features": owner} for item, owner in features.items()
        ]
        return store_rows(name, VISION_FEATURES, rows)

    return store


@pytest.fixture
def store_file(tmp_path) -> StoreFile:
    """Stores bytes in a file of the test's own."""

    def store(name: str, data: bytes) -> FileRef:
        (tmp_path / name).write_bytes(data)
        return FileRef(str(tmp_path / name))

    return store


@pytest.fixture(scope="session")
def weighing(base_parameters) -> BM25Parameters:
    return BM25Parameters.model_validate(base_parameters["bm25"])


@pytest.fixture(scope="session")
def relevance_parameters(base_parameters) -> RelevanceParameters:
    return RelevanceParameters.model_validate(
        base_parameters["relevance"] | {"min_queries": 20, "min_data_in_leaf": 5}
    )


@pytest.fixture(scope="session")
def sentences(base_parameters) -> TextEncoderParameters:
    """Of a network that is drawn, and small."""
    return TextEncoderParameters.model_validate(
        base_parameters["text_encoder"] | {"weights": "random"}
    )


@pytest.fixture(scope="session")
def projecting(base_parameters) -> ProjectionParameters:
    """Of maps with few directions, for few listings."""
    small = {"dimension": 8, "photo_ridge": [0.01], "text_ridge": [0.01]}
    return ProjectionParameters.model_validate(base_parameters["projection"] | small)


@pytest.fixture(scope="session")
def indexing(base_parameters) -> IndexParameters:
    """Of a few vectors."""
    return IndexParameters.model_validate(base_parameters["text_index"] | {"rows_per_part": 4})


@pytest.fixture(scope="session")
def growing(base_parameters) -> RankerParameters:
    """Of a few trees."""
    few = {
        "num_boost_round": 30,
        "early_stopping_rounds": 5,
        "min_data_in_leaf": 10,
        "learning_rate": 0.2,
    }
    return RankerParameters.model_validate(base_parameters["ranker"] | few)


@pytest.fixture(scope="session")
def measuring(base_parameters) -> RankingEvaluationParameters:
    return RankingEvaluationParameters.model_validate(base_parameters["ranking_evaluation"])
