"""Evaluation of photo retrieval per query, in three galleries."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.random_baseline import expected_random
from fb_marketplace.evaluation.retrieval_metrics import (
    PRODUCT_METRICS,
    RankedResults,
    compute_retrieval_metrics,
)
from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import (
    ENCODER,
    LISTING_LEVEL,
    compute_comparison_embeddings,
    embeddings_from_table,
    l2_normalize,
)
from fb_marketplace.pipelines.indexing.exact_ranking import TopHits, exact_search, rank_all
from fb_marketplace.pipelines.indexing.gallery import Gallery, RowIndices, make_gallery
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.ann.index import Index

FULL_GALLERY: Final = "all_photos"
SAMPLED_GALLERY: Final = "sampled_photos"
"""Gallery of bounded size. Its recall does not depend on the size of a market with more photos than
``max_sampled_photos``. It has all photos of a smaller market."""
WITHIN_SPLIT: Final = {split: f"{split}_photos" for split in EVALUATION_SPLITS}
"""Galleries with the photos of one split only."""


class ServedIndex(NamedTuple):
    """Hits and metrics of each query to the served index."""

    hits: pd.DataFrame
    metrics: pd.DataFrame


def evaluate_served_index(
    image_index: FileRef,
    image_index_ids: FileRef,
    image_embeddings: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: RetrievalParameters,
) -> ServedIndex:
    """Search the served index for photos of the test split.

    The query photo, its copies and its near-duplicates do not count as hits.

    Args:
        image_index: the index.
        image_index_ids: photo and listing of each row.
        image_embeddings: the query vectors.
        products: the listings.
        splits: split of each photo.
        duplicate_groups: groups of copies and near-duplicates.
        parameters: the number of queries.

    Returns:
        ``retrieval_hits``: the first ten hits of each query, graded; and ``retrieval_full_gallery``: one
        row per gallery, query and metric, see :func:`evaluate_within_split`. The galleries are all photos,
        and a sample of them with all photos of the queries' listings, which is searched exactly.

    Raises:
        InsufficientDataError: the test split has no photo.
    """
    index = Index.from_bytes(image_index.read(), image_index_ids.read())
    gallery = make_gallery(list(index.image_ids), products, splits, duplicate_groups)
    test = np.flatnonzero(gallery.photos["split"] == "test").astype(np.int64)
    queries = test[_sample(gallery.photos["image_id"].iloc[test], parameters)]
    if not len(queries):
        raise InsufficientDataError("photo search is not evaluated: the test split has no photo")
    image_ids = gallery.photos["image_id"].iloc[queries].to_list()
    vectors = embeddings_from_table(image_embeddings, image_ids, "embedding", "embeddings")
    hits, ranking = exact_search(index, gallery, queries, vectors)
    sampled = _sampled_rows(gallery, queries, parameters)
    sample = Gallery(gallery.photos.iloc[sampled])
    places = np.searchsorted(sampled, queries)
    exact = rank_all(l2_normalize(index.vectors(sampled)), sample, places)
    metrics = [
        _metric_table(ranking, gallery, queries, FULL_GALLERY, ENCODER),
        _metric_table(exact, sample, places, SAMPLED_GALLERY, ENCODER),
    ]
    return ServedIndex(_hit_table(hits, gallery, queries), pd.concat(metrics, ignore_index=True))


def evaluate_within_split(
    image_embeddings: Table,
    vision_features: Table,
    layer_embeddings: pd.DataFrame | Skipped,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: RetrievalParameters,
) -> pd.DataFrame:
    """Search each evaluation split exactly, with photos of it as queries, by each embedding.

    Args:
        image_embeddings: the served embeddings.
        vision_features: features of the frozen backbone.
        layer_embeddings: embeddings from other layers of the trained network.
        images: the canonical photos.
        products: the listings.
        splits: split of each photo.
        duplicate_groups: groups of copies and near-duplicates.
        parameters: the number of queries, and the thumbnail size.

    Returns:
        ``retrieval_within_split``: one row per gallery, embedding, query and metric, with its ``value`` and
        ``random_baseline``, the expected value of a random order. Same-listing metrics exist only for
        queries whose listing has another photo that is not a copy, and not for text, which all photos of a
        listing share.

    Raises:
        InsufficientDataError: the validation or the test split has no photo.
    """
    parts = []
    for name, gallery in _galleries(products, splits, duplicate_groups):
        queries = _sample(gallery.photos["image_id"], parameters)
        for embedding, vectors in compute_comparison_embeddings(
            gallery.photos,
            image_embeddings,
            vision_features,
            layer_embeddings,
            images,
            products,
            splits,
            parameters,
        ):
            ranking = rank_all(vectors, gallery, queries)
            parts.append(_metric_table(ranking, gallery, queries, name, embedding))
    return pd.concat(parts, ignore_index=True)


def _sample(image_ids: "pd.Series[str]", parameters: RetrievalParameters) -> RowIndices:
    return sample_rows(image_ids.to_list(), parameters.max_queries, parameters.seed)


def _sampled_rows(
    gallery: Gallery, queries: RowIndices, parameters: RetrievalParameters
) -> RowIndices:
    """Return a sample of the photos, and all photos of the queries' listings, in the gallery's order."""
    photos = gallery.photos
    partners = np.flatnonzero(photos["product_id"].isin(photos["product_id"].iloc[queries]))
    sample = sample_rows(
        photos["image_id"].to_list(), parameters.max_sampled_photos, parameters.seed
    )
    return np.unique(np.concatenate([sample, partners, queries])).astype(np.int64)


def _galleries(
    products: pd.DataFrame, splits: pd.DataFrame, duplicate_groups: pd.DataFrame
) -> Iterator[tuple[str, Gallery]]:
    image_ids = splits["image_id"].dropna().sort_values()
    gallery = make_gallery(image_ids, products, splits, duplicate_groups)
    for split, name in WITHIN_SPLIT.items():
        among = gallery.among(split)
        if not len(among):
            raise InsufficientDataError(
                f"photo search is not evaluated: the {split} split has no photo"
            )
        yield name, among


def _hit_table(hits: TopHits, gallery: Gallery, queries: RowIndices) -> pd.DataFrame:
    query, rank = np.nonzero(hits.rows >= 0)
    image_ids = gallery.photos["image_id"].to_numpy()
    return pd.DataFrame(
        {
            "image_id": image_ids[queries[query]],
            "rank": rank + 1,
            "hit": image_ids[hits.rows[query, rank]],
            "similarity": hits.similarities[query, rank].astype(np.float64),
            "grade": hits.grades[query, rank].astype(np.int64),
        }
    )


def _metric_table(
    ranking: RankedResults, gallery: Gallery, queries: RowIndices, name: str, embedding: str
) -> pd.DataFrame:
    """Return a row for each query and metric that applies to it."""
    photos = gallery.photos.iloc[queries]
    baseline = expected_random(ranking.available)
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
                "random_baseline": baseline[measure],
            }
        )
        for measure, values in compute_retrieval_metrics(ranking).items()
        if not (embedding in LISTING_LEVEL and measure in PRODUCT_METRICS)
    ]
    return pd.concat(parts, ignore_index=True).dropna(subset="value", ignore_index=True)
