"""Listings whose words determine category and price."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.listing_vectors import ListingVectors
from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import VectorTable

WORDS = {
    "Home": (["sofa", "table", "lamp"], 100.0),
    "Sport": (["bike", "racket", "boots"], 30.0),
    "Arts": (["novel", "guitar", "poster"], 8.0),
}


@pytest.fixture(scope="session")
def parameters(base_parameters) -> BaselineParameters:
    """The base parameters, for little data and in a hurry."""
    result = BaselineParameters.model_validate(base_parameters["baselines"])
    return result.model_copy(
        update={
            "category": result.category.model_copy(update={"thumbnail_size": 8}),
            "bootstrap_samples": 20,
        }
    )


@pytest.fixture(scope="session")
def draw_listings() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """Draws ``products`` and ``splits``: two listings a group, three of five in training."""

    def draw(count: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
        random = np.random.default_rng(0)
        rows = []
        for place in range(count):
            category = list(WORDS)[random.integers(3)]
            words, price = WORDS[category]
            word = words[random.integers(3)]
            rows.append(
                {
                    "product_id": f"p{place:03}",
                    "title": f"A good {word}",
                    "description": f"This {word} was hardly used\nCollect it soon",
                    "price": round(price * random.uniform(0.8, 1.25), 2),
                    "price_flag": None,
                    "category": category,
                    "category_path": f"{category} / {word.title()}",
                    "category_depth": 2,
                    "town": "Leeds" if place % 3 else None,
                    "county": "West Yorkshire",
                    "photos": place % 4,
                }
            )
        products = pd.DataFrame(rows)
        parts = ["train", "train", "train", "validation", "test"]
        splits = pd.DataFrame(
            {
                "image_id": [f"{item}-1" for item in products["product_id"]],
                "product_id": products["product_id"],
                "group": [f"g{place // 2:03}" for place in range(count)],
                "split": [parts[place // 2 % 5] for place in range(count)],
            }
        )
        return products, splits

    return draw


@pytest.fixture(scope="session")
def listing_vectors() -> Callable[[pd.DataFrame], ListingVectors]:
    """Draws noisy vectors of listings: of three kinds of text and photo, as there are categories."""

    def draw(products: pd.DataFrame) -> ListingVectors:
        random = np.random.default_rng(1)
        kinds = products["category"].map(list(WORDS).index).to_numpy()
        texts, photos = (
            np.eye(4, dtype=np.float32)[kinds]
            + random.normal(scale=0.1, size=(len(kinds), 4)).astype(np.float32)
            for _ in range(2)
        )
        photos[products["photos"] == 0] = 0
        ids = tuple(products["product_id"])
        return ListingVectors(VectorTable(ids, texts), VectorTable(ids, photos))

    return draw


@pytest.fixture(scope="session")
def store_texts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[VectorTable], Table]:
    """Stores embeddings of texts as the table ``text_embeddings``."""

    def store(texts: VectorTable) -> Table:
        url = str(tmp_path_factory.mktemp("texts") / "embedding.lance")
        rows = [
            {"key": name, "product_id": name, "embedding": vector}
            for name, vector in zip(texts.ids, texts.matrix, strict=True)
        ]
        keyed_table.ensure_table(url, TEXT_EMBEDDINGS)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=TEXT_EMBEDDINGS))
        return keyed_table.open_table(url)

    return store
