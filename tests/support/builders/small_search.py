"""Search artifacts of a small release."""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support.builders.small_market import count_words
from support.builders.tiny_text_encoder import graph, tokenizer

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.encoders.text import TextEncoder
from fb_marketplace_serving.release.manifest import TextCanary
from fb_marketplace_serving.release.provenance import (
    SOURCES,
    ListingProvenance,
    Source,
    write_provenance,
)
from fb_marketplace_serving.search.listings import gazetteer as places_module
from fb_marketplace_serving.search.listings.attribute_table import attributes_text
from fb_marketplace_serving.search.listings.attributes import find_attributes
from fb_marketplace_serving.search.listings.gazetteer import Row, fold_name
from fb_marketplace_serving.search.listings.listing_features import COLUMNS as FACT_COLUMNS
from fb_marketplace_serving.search.listings.price_insights import (
    PHOTO_ELSEWHERE,
    UNUSUAL_PRICE,
    Insight,
    PhotoElsewhere,
    UnusualPrice,
    write_price_insights,
)
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES
from fb_marketplace_serving.search.ranking.relevance import (
    MONOTONE_CONSTRAINTS,
    RELEVANCE_FEATURES,
    relevance_bytes,
)

TOWNS = {
    "Leeds": (53.8, -1.55, 500_000),
    "York": (53.96, -1.08, 150_000),
    "Bath": (51.38, -2.36, 90_000),
    "Hull": (53.74, -0.33, 260_000),
}
TYPICAL = (15.0, 25.0)
"""Of every listing that has a price; one beyond it is noted."""

SHOP = {
    "p-bike": ("Blue bike", 1000.0, "Sport / Bikes", None),
    "p-chair": ("Red chair", 10.0, "Home & Garden / Chairs", "Leeds"),
    "p-copy": ("Red chair", 12.0, "Home & Garden / Chairs", "Leeds"),
    "p-lamp": ("Blue lamp", None, "Home & Garden / Lamps", "Bath"),
    "p-old": ("Old red chair", 20.5, "Home & Garden / Chairs / Old", "York"),
    "p-plain": ("Old oak table", 45.0, "Home & Garden / Tables", "Leeds"),
    "p-table": ("Oak table", 20.5, "Home & Garden / Tables", "Hull"),
}
"""Listings that a search may find: title, price, category path and town."""
SHOP_DATES = {
    "p-bike": 1_645_833_600,
    "p-chair": 1_643_673_600,
    "p-copy": 1_645_747_200,
    "p-old": 1_646_092_800,
    "p-table": 1_645_747_200,
}
"""Dates of some of them: two are equal, and two are unknown."""
SHOP_PHOTOS = {
    "img-red": "p-chair",
    "img-green": "p-table",
    "img-blue": "p-lamp",
    "img-yellow": "p-old",
    "img-grey": "p-bike",
}
"""The listing of each photo; ``p-copy`` and ``p-plain`` have none."""

FILES = {
    "listing_features": "facts.parquet",
    "gazetteer": "places.parquet",
    "word_index": "words.parquet",
    "text_encoder": "text_encoder.onnx",
    "text_tokenizer": "tokenizer.json",
    "text_index": "texts.faiss",
    "text_index_ids": "text_ids.parquet",
    "text_to_image_index": "pictures.faiss",
    "text_to_image_index_ids": "picture_ids.parquet",
    "ranker": "ranker.txt",
    "relevance_model": "relevance_model.json",
    "price_insights": "price_notes.parquet",
    "provenance": "provenance.parquet",
}


def make_parts(
    listings: pa.Table,
    image_ids: Sequence[str],
    image_products: Sequence[str],
    same: Mapping[str, str] | None = None,
) -> dict[str, bytes]:
    """Make the artifacts that a search by words needs.

    Args:
        listings: those of the release.
        image_ids: the photos of its index, row by row.
        image_products: the listing of each.
        same: listings that show the same as another, by that other.
    """
    rows = sorted(listings.to_pylist(), key=lambda row: row["product_id"])
    ids = [row["product_id"] for row in rows]
    titles = [row["title"].lower() for row in rows]
    encoder = text_encoder()
    title_of = dict(zip(ids, titles, strict=True))
    titles_as_images = encoder.encode(
        [title_of[product] for product in image_products]
    ).text_to_image_embedding
    texts = Index.build_flat(encoder.encode(titles).text_embedding, ids, ids).to_bytes()
    pictures = Index.build_flat(titles_as_images, image_ids, image_products).to_bytes()
    return {
        "listing_features": _facts(rows, same or {}, set(image_products)),
        "gazetteer": gazetteer_bytes(),
        "word_index": count_words(titles).to_bytes(),
        "text_encoder": graph(),
        "text_tokenizer": tokenizer(),
        "text_index": texts[0],
        "text_index_ids": texts[1],
        "text_to_image_index": pictures[0],
        "text_to_image_index_ids": pictures[1],
        "ranker": ranker(),
        "relevance_model": relevance_model(),
        "price_insights": price_notes(rows),
        "provenance": write_provenance(
            [_origin(product) for product in ids], dict.fromkeys(SOURCES, Source("x"))
        ),
    }


@cache
def ranker() -> bytes:
    """Give a ranker of few trees that learned from features drawn at random; the same each time.

    It does not use the age, which would outweigh all else: it is a number of days.
    """
    random = np.random.default_rng(0)
    features = random.random((400, len(FEATURES) - 1))
    grades = np.round(3 * features.mean(axis=1, where=random.random(features.shape) < 0.5))
    features = np.insert(features, FEATURES.index("age_days"), np.nan, axis=1)
    data = lightgbm.Dataset(features, grades, group=[20] * 20, feature_name=list(FEATURES))
    values = {"objective": "lambdarank", "num_leaves": 7, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(values | {"min_data_in_leaf": 5, "seed": 0}, data, 10)
    return booster.model_to_string().encode()


@cache
def relevance_model(threshold: float = 0.0) -> bytes:
    """Give a model by which listings whose title has more of the words are more relevant.

    Without a threshold the candidates are the results.
    """
    random = np.random.default_rng(0)
    features = random.random((400, len(RELEVANCE_FEATURES)))
    title = features[:, RELEVANCE_FEATURES.index("title_share")]
    relevant = (title > 0.5).astype(np.float64)
    data = lightgbm.Dataset(features, relevant, feature_name=list(RELEVANCE_FEATURES))
    values = {"objective": "binary", "num_leaves": 4, "num_threads": 1, "verbose": -1}
    values |= {"min_data_in_leaf": 5, "seed": 0, "monotone_constraints": [*MONOTONE_CONSTRAINTS]}
    booster = lightgbm.train(values, data, 40)
    return relevance_bytes(booster.model_to_string(), threshold)


def text_encoder() -> TextEncoder:
    """Open the text encoder of every such release."""
    return TextEncoder.from_bytes(graph(), tokenizer())


def text_canaries(*texts: str) -> tuple[TextCanary, ...]:
    """Return text canaries of some texts."""
    result = text_encoder().encode(texts)
    return tuple(
        TextCanary(
            text=text, text_embedding=first.tolist(), text_to_image_embedding=second.tolist()
        )
        for text, first, second in zip(texts, *result, strict=True)
    )


def _facts(rows: list[dict], same: Mapping[str, str], with_photos: set[str]) -> bytes:
    nowhere = (math.nan, math.nan, 0)
    newest = max((row["created_at"] or 0 for row in rows), default=0)
    return parquet(
        FACT_COLUMNS,
        [
            (
                row["product_id"],
                same.get(row["product_id"], row["product_id"]),
                *TOWNS.get(row["town"], nowhere)[:2],
                10,
                320 * 240 if row["product_id"] in with_photos else 0,
                None if row["created_at"] is None else (newest - row["created_at"]) / 86_400,
                attributes_text(find_attributes(row["title"])),
            )
            for row in rows
        ],
    )


def gazetteer_bytes() -> bytes:
    return parquet(
        places_module.COLUMNS,
        [
            Row(name, fold_name(name), north, east, people, False, math.nan, False)
            for name, (north, east, people) in TOWNS.items()
        ],
    )


def price_notes(rows: list[dict]) -> bytes:
    """Build insights: unusual prices, and a photo shared by the first and last listing."""
    ids = [row["product_id"] for row in rows]
    priced = [row["price"] is not None and not math.isnan(row["price"]) for row in rows]
    others = [place for place, has in enumerate(priced) if has]
    similar = [
        [other for other in others if other != place] if has else []
        for place, has in enumerate(priced)
    ]
    notes: list[list[Insight]] = [[] for _ in rows]
    for place, row in enumerate(rows):
        if priced[place] and not TYPICAL[0] <= row["price"] <= TYPICAL[1]:
            values = tuple(ids[other] for other in similar[place])
            evidence = UnusualPrice(*TYPICAL, len(values), values)
            notes[place].append(
                Insight(UNUSUAL_PRICE, "Comparable listings have other prices.", evidence)
            )
    elsewhere = PhotoElsewhere(ids[-1], "one", "other", 5.0, "Hull", "exact")
    notes[0].append(Insight(PHOTO_ELSEWHERE, "The photo is also in another listing.", elsewhere))
    low, high = (np.where(priced, bound, np.nan) for bound in TYPICAL)
    return write_price_insights(ids, low, high, similar, notes)


def _origin(product: str) -> ListingProvenance:
    return ListingProvenance(product, 0, 0, [], None, False, None, product, 1, "train", [], [])


def parquet(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """Write rows as Parquet."""
    buffer = io.BytesIO()
    values = dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(values), buffer)
    return buffer.getvalue()
