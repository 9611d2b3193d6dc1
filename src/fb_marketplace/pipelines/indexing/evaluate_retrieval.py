"""How well photos find what is like them: query by query, in three galleries."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.retrieval_metrics import OF_PRODUCTS, Ranking, measures_of
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import (
    ENCODER,
    OF_LISTINGS,
    of_table,
    represent,
)
from fb_marketplace.pipelines.indexing.exact_ranking import Hits, rank_all, search
from fb_marketplace.pipelines.indexing.gallery import Gallery, Places, gallery_of
from fb_marketplace.pipelines.indexing.random_baseline import chance_of
from fb_marketplace.schemas.splits import MEASURED
from fb_marketplace.storage.file_handles import StoredFile
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.index import Index

SERVED: Final = "all_photos"
ALONE: Final = {split: f"{split}_photos" for split in MEASURED}
"""The galleries that hold the photos of one split and no others."""


class Served(NamedTuple):
    """What the index gave for each query, and how good that is."""

    hits: pd.DataFrame
    measured: pd.DataFrame


def ask_served(
    image_index: StoredFile,
    image_index_ids: StoredFile,
    image_embeddings: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
) -> Served:
    """Ask the index, as it is served, for each photo of the test split.

    The query itself and its copies, near ones too, are not hits.

    Args:
        image_index: the index.
        image_index_ids: the photos of its rows.
        image_embeddings: what is asked.
        products: the listings.
        splits: where each photo belongs.
        duplicate_groups: which are copies.

    Returns:
        ``retrieval_hits``: the first ten of each query, graded; and ``retrieval_served``: a row a
        query and measure, see :func:`ask_alone`.
    """
    index = Index.from_bytes(image_index.read(), image_index_ids.read())
    gallery = gallery_of(list(index.image_ids), products, splits, duplicate_groups)
    queries = np.flatnonzero(gallery.photos["split"] == "test").astype(np.int64)
    asked = gallery.photos["image_id"].iloc[queries].to_list()
    vectors = of_table(image_embeddings, asked, "embedding", "embeddings")
    hits, ranking = search(index, gallery, queries, vectors)
    return Served(
        _hit_table(hits, gallery, queries), _measured(ranking, gallery, queries, SERVED, ENCODER)
    )


def ask_alone(
    image_embeddings: Table,
    vision_features: Table,
    layer_embeddings: pd.DataFrame,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: RetrievalParameters,
) -> pd.DataFrame:
    """Ask the photos of each measured split for each other, exactly, by each way to tell photos apart.

    Args:
        image_embeddings: what is served.
        vision_features: of the frozen backbone.
        layer_embeddings: by other layers of the trained network.
        images: the canonical photos.
        products: the listings.
        splits: where each photo belongs.
        duplicate_groups: which are copies.
        parameters: the side of small pixels.

    Returns:
        ``retrieval_alone``: a row for each gallery, embedding, query and measure, with its ``value``
        and what ``chance`` would give. Measures of finding a listing are of queries whose listing has
        another photo that is no copy; of words, which all photos of a listing share, there are none.
    """
    return pd.concat(
        [
            _measured(rank_all(vectors, gallery), gallery, np.arange(len(gallery)), name, embedding)
            for name, gallery in _galleries(products, splits, duplicate_groups)
            for embedding, vectors in represent(
                gallery.photos,
                image_embeddings,
                vision_features,
                layer_embeddings,
                images,
                products,
                splits,
                parameters,
            ).items()
        ],
        ignore_index=True,
    )


def _galleries(
    products: pd.DataFrame, splits: pd.DataFrame, duplicate_groups: pd.DataFrame
) -> Iterator[tuple[str, Gallery]]:
    image_ids = splits["image_id"].dropna().sort_values()
    whole = gallery_of(image_ids, products, splits, duplicate_groups)
    for split, name in ALONE.items():
        yield name, whole.among(split)


def _hit_table(hits: Hits, gallery: Gallery, queries: Places) -> pd.DataFrame:
    asked, rank = np.nonzero(hits.places >= 0)
    image_ids = gallery.photos["image_id"].to_numpy()
    return pd.DataFrame(
        {
            "image_id": image_ids[queries[asked]],
            "rank": rank + 1,
            "hit": image_ids[hits.places[asked, rank]],
            "similarity": hits.similarities[asked, rank].astype(np.float64),
            "grade": hits.grades[asked, rank].astype(np.int64),
        }
    )


def _measured(
    ranking: Ranking, gallery: Gallery, queries: Places, name: str, embedding: str
) -> pd.DataFrame:
    """Give a row for each query and measure that it counts for."""
    photos = gallery.photos.iloc[queries]
    chance = chance_of(ranking.available)
    parts = [
        pd.DataFrame(
            {
                "gallery": name,
                "photos": len(gallery),
                "embedding": embedding,
                "measure": measure,
                "image_id": photos["image_id"].to_numpy(),
                "group": photos["group"].to_numpy(),
                "category": photos["category"].to_numpy(),
                "value": values,
                "chance": chance[measure],
            }
        )
        for measure, values in measures_of(ranking).items()
        if not (embedding in OF_LISTINGS and measure in OF_PRODUCTS)
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)
