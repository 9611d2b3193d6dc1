"""What the next release is compared by: how each case of the test split did, measure by measure."""

import io
from typing import Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.predictions import predictions_for_split
from fb_marketplace.pipelines.release.current_release import CASE_METRICS

PHOTOS: Final = "photo_top1"
LISTINGS: Final = "listing_top1"
LISTINGS_WITH_TEXT: Final = "listing_with_text_top1"
RECALLS: Final = {
    "recall_at_1": "same_product_recall_at_1",
    "recall_at_10": "same_product_recall_at_10",
}
"""What the table ``retrieval_full_gallery`` calls them."""

SEARCHES: Final = "search_ndcg_at_10"

NAMES: Final = (PHOTOS, LISTINGS, LISTINGS_WITH_TEXT, *RECALLS, SEARCHES)


def collect_case_metrics(
    vision_predictions: pd.DataFrame,
    product_predictions: pd.DataFrame,
    retrieval_full_gallery: pd.DataFrame,
    ranking_query_metrics: pd.DataFrame,
    vision_labels: list[str],
) -> bytes:
    """Gather whether each answer is right, and each search finds; gives Parquet.

    Args:
        vision_predictions: what the encoder says of each photo.
        product_predictions: what photos, and both photos and text, say of each listing.
        retrieval_full_gallery: how well each photo finds, in the index as it is served.
        ranking_query_metrics: how well each search for a listing does, by each method.
        vision_labels: the classes, in the order of probabilities.

    Returns:
        Rows of ``measure`` (one of ``NAMES``), ``case`` (the id of a photo or listing, or a kind of search
        and its listing), ``group_id`` and ``value``, sorted; of the test split only.
    """
    labels = tuple(vision_labels)
    parts = [
        _right(PHOTOS, vision_predictions, "image_id", labels, "probabilities"),
        _right(LISTINGS, product_predictions, "product_id", labels, "by_photos"),
        _right(LISTINGS_WITH_TEXT, product_predictions, "product_id", labels, "probabilities"),
        *(_found(name, retrieval_full_gallery, measure) for name, measure in RECALLS.items()),
        _ranked(ranking_query_metrics),
    ]
    table = pd.concat(parts, ignore_index=True).sort_values(["measure", "case"], ignore_index=True)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _right(
    name: str, predictions: pd.DataFrame, case: str, labels: tuple[str, ...], column: str
) -> pd.DataFrame:
    asked = predictions[(predictions["split"] == "test") & predictions[column].notna()]
    found = predictions_for_split(asked, "test", labels, column)
    return _rows(name, asked[case], found.groups, found.correct)


def _found(name: str, retrieval_full_gallery: pd.DataFrame, measure: str) -> pd.DataFrame:
    asked = retrieval_full_gallery[retrieval_full_gallery["measure"] == measure]
    return _rows(name, asked["image_id"], asked["group"], asked["value"])


def _ranked(ranking_query_metrics: pd.DataFrame) -> pd.DataFrame:
    asked = ranking_query_metrics[
        (ranking_query_metrics["method"] == "ranker")
        & (ranking_query_metrics["measure"] == "ndcg_at_10")
    ]
    return _rows(
        SEARCHES, asked["kind"] + "/" + asked["product_id"], asked["group"], asked["value"]
    )


def _rows(name: str, cases: object, groups: object, values: object) -> pd.DataFrame:
    columns = (
        np.asarray(cases, dtype=np.str_).tolist(),
        np.asarray(groups, dtype=np.str_).tolist(),
        np.asarray(values, dtype=np.float64),
    )
    return pd.DataFrame(dict(zip(CASE_METRICS[1:], columns, strict=True))).assign(measure=name)[
        list(CASE_METRICS)
    ]
