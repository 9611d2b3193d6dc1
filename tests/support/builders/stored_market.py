"""A market of a few dozen listings in three splits, stored as the stages before ranking leave it."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from support.builders import tiny_text_encoder as tiny
from support.builders.small_market import count_words, unit
from support.builders.small_search import gazetteer_bytes

from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.pipelines.listings.listing_features import build_listing_cards
from fb_marketplace.pipelines.ranking.evaluation_corpus import (
    SearchEvaluationData,
    load_evaluation_corpus,
)
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS, TEXT_EMBEDDINGS
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.search.listings.listing_features import COLUMNS

LABELS = ["Home", "Sport"]
NO_DUAL_ENCODER = Skipped("no dual encoder")
PATHS = {
    "chair": "Home / Chairs",
    "table": "Home / Tables",
    "lamp": "Home / Lamps",
    "bike": "Sport",
}
SIDES = ("train", "validation", "test")
COUNT = 72
PHOTO, PICTURE = 7, 5


class Tables(NamedTuple):
    """Listings, two to a group and a group to a split in turn; the third has no photo, and so on."""

    products: pd.DataFrame
    splits: pd.DataFrame
    duplicate_groups: pd.DataFrame


def draw_tables() -> Tables:
    random = np.random.default_rng(0)
    products, splits, copies = [], [], []
    for number in range(COUNT):
        name, group = f"p{number:02}", f"g{number // 2:02}"
        thing = tuple(PATHS)[random.integers(len(PATHS))]
        visible = {
            "product_id": name,
            "title": f"{random.choice(['red', 'blue', 'old'])} oak {thing} no {number}",
            "description": " ".join(random.choice(tiny.WORDS, 3)),
            "price": float(random.integers(1, 99)),
            "currency": "GBP",
            "category": PATHS[thing].partition(" / ")[0],
            "category_path": PATHS[thing],
            "town": None,
            "county": None,
            "price_flag": None,
            "created_at": None if number % 5 == 1 else 1_640_995_200 + 86_400 * (number * 7 % 30),
        }
        products.append(visible)
        images = [f"{name}-{photo}" for photo in range((0, 3, 2, 1)[number % 4])] or [None]
        splits += [(image, name, group, SIDES[number // 2 % 3]) for image in images]
        if number % 4 == 3:  # it shows a copy of what the one before it, of its group, shows
            copies += [(f"p{number - 1:02}-0", name), (f"{name}-0", name)]
    return Tables(
        pd.DataFrame(products),
        pd.DataFrame(splits, columns=["image_id", "product_id", "group", "split"]),
        pd.DataFrame(copies, columns=["image_id", "group"]),
    )


def open_stored(folder: Path, drawn: Tables) -> SearchEvaluationData:
    """Store all that the tables do not hold, and open the market."""
    random = np.random.default_rng(1)
    products, splits, duplicate_groups = drawn
    owners = splits.dropna(subset=["image_id"])[["image_id", "product_id"]].reset_index(drop=True)
    images, owned = owners["image_id"].tolist(), owners["product_id"].tolist()

    def file(name: str, data: bytes) -> FileRef:
        (folder / name).write_bytes(data)
        return FileRef(str(folder / name))

    def table(name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> keyed_table.Table:
        url = str(folder / f"{name}.lance")
        keyed_table.ensure_table(url, schema)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=schema))
        return keyed_table.open_table(url)

    graph, tokenizer = tiny.graph(text_to_image_size=PICTURE), tiny.tokenizer()
    vectors = TextEncoder.from_bytes(graph, tokenizer).encode(listing_text(products)).text_embedding
    embeddings = unit(random, len(images), PHOTO)
    probabilities = random.dirichlet([1, 1], len(images))
    pictures = Index.build_flat(unit(random, len(images), PICTURE), images, owned).to_bytes()
    facts = pd.DataFrame(
        {
            "product_id": products["product_id"],
            "family": products["product_id"],
            "latitude": np.nan,
            "longitude": np.nan,
            "description_words": 3,
            "photo_pixels": 1_000_000,
            "age_days": (products["created_at"].max() - products["created_at"]) / 86_400,
            "attributes": "",
        }
    )[list(COLUMNS)]
    buffer = io.BytesIO()
    facts.to_parquet(buffer, index=False)
    return load_evaluation_corpus(
        products,
        splits,
        duplicate_groups,
        table(
            "image_embeddings",
            IMAGE_EMBEDDINGS,
            [
                {
                    "key": image,
                    "image_id": image,
                    "image_sha256": "",
                    "encoder_sha256": "",
                    "probabilities": probabilities[row],
                    "embedding": embeddings[row],
                }
                for row, image in enumerate(images)
            ][::-1],
        ),
        owners,
        file("pictures", pictures[0]),
        file("picture ids", pictures[1]),
        table(
            "text_embeddings",
            TEXT_EMBEDDINGS,
            [
                {"key": name, "product_id": name, "embedding": vector}
                for name, vector in zip(products["product_id"], vectors, strict=True)
            ],
        ),
        file("text encoder", graph),
        file("tokenizer", tokenizer),
        NO_DUAL_ENCODER,
        NO_DUAL_ENCODER,
        file("listings", build_listing_cards(products)),
        file("facts", buffer.getvalue()),
        LABELS,
        file("word index", count_words(listing_text(products)).to_bytes()),
        file("gazetteer", gazetteer_bytes()),
    )
