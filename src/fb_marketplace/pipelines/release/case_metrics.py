"""Case metrics: the value of every metric on every test case. The next release is compared with them."""

import io
from typing import Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.predictions import predictions_for_split
from fb_marketplace.pipelines.release.current_release import CASE_METRICS
from fb_marketplace.skipping import Skipped

PHOTOS: Final = "photo_top1"
LISTINGS: Final = "listing_top1"
LISTINGS_WITH_TEXT: Final = "listing_with_text_top1"
RECALLS: Final = {
    "recall_at_1": ("all_photos", "same_product_recall_at_1"),
    "recall_at_10": ("all_photos", "same_product_recall_at_10"),
    "sampled_recall_at_1": ("sampled_photos", "same_product_recall_at_1"),
    "sampled_recall_at_10": ("sampled_photos", "same_product_recall_at_10"),
}
"""Recall metrics, and their galleries and names in the table ``retrieval_full_gallery``."""

SEARCHES: Final = "search_ndcg_at_10"
SERVED: Final = {
    "search_precision": "precision",
    "search_title_recall": "title_recall",
    "search_sorted_precision_at_10": "sorted_precision_at_10",
    "search_typo_recall_at_10": "typo_recall_at_10",
    "search_paraphrase_recall_at_10": "paraphrase_recall_at_10",
}
"""Metrics of the served search, and their names in the table ``ranking_query_metrics``."""

COMPOSED: Final = "search_composed_recall_at_10"

NAMES: Final = (PHOTOS, LISTINGS, LISTINGS_WITH_TEXT, *RECALLS, SEARCHES, *SERVED, COMPOSED)


def collect_case_metrics(
    vision_predictions: pd.DataFrame | Skipped,
    product_predictions: pd.DataFrame | Skipped,
    retrieval_full_gallery: pd.DataFrame | Skipped,
    ranking_query_metrics: pd.DataFrame | Skipped,
    vision_labels: list[str] | Skipped,
) -> bytes:
    """Collect the metrics of every test case. A market without searches or a classifier has fewer metrics.

    Args:
        vision_predictions: predictions of the image encoder by photo.
        product_predictions: predictions by listing, from photos only and from photos with text.
        retrieval_full_gallery: retrieval metrics by gallery and photo.
        ranking_query_metrics: search metrics by query and method.
        vision_labels: the classes, in the order of the probabilities.

    Returns:
        A Parquet file with rows of ``measure`` (one of ``NAMES``), ``case`` (the id of a photo or listing,
        or a kind of query and its listing), ``group_id`` and ``value``, sorted; test split only.
    """
    labels = () if isinstance(vision_labels, Skipped) else tuple(vision_labels)
    parts = []
    if not isinstance(vision_predictions, Skipped):
        parts.append(_accuracy(PHOTOS, vision_predictions, "image_id", labels, "probabilities"))
    if not isinstance(product_predictions, Skipped):
        parts += [
            _accuracy(LISTINGS, product_predictions, "product_id", labels, "by_photos"),
            _accuracy(
                LISTINGS_WITH_TEXT, product_predictions, "product_id", labels, "probabilities"
            ),
        ]
    if not isinstance(retrieval_full_gallery, Skipped):
        parts += [
            _recall(name, retrieval_full_gallery, *measure) for name, measure in RECALLS.items()
        ]
    if not isinstance(ranking_query_metrics, Skipped):
        parts.append(_searches(SEARCHES, ranking_query_metrics, "ranker", "ndcg_at_10"))
        parts += [
            _searches(name, ranking_query_metrics, "served", measure)
            for name, measure in SERVED.items()
        ]
        parts.append(
            _searches(COMPOSED, ranking_query_metrics, "ranker", "recall_at_10", is_composed=True)
        )
    table = pd.concat(parts or [_rows(NAMES[0], [], [], [])], ignore_index=True).sort_values(
        ["measure", "case"], ignore_index=True
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _accuracy(
    name: str, predictions: pd.DataFrame, case: str, labels: tuple[str, ...], column: str
) -> pd.DataFrame:
    tested = predictions[(predictions["split"] == "test") & predictions[column].notna()]
    predicted = predictions_for_split(tested, "test", labels, column)
    return _rows(name, tested[case], predicted.groups, predicted.correct)


def _recall(
    name: str, retrieval_full_gallery: pd.DataFrame, gallery: str, measure: str
) -> pd.DataFrame:
    rows = retrieval_full_gallery[
        (retrieval_full_gallery["gallery"] == gallery)
        & (retrieval_full_gallery["measure"] == measure)
    ]
    return _rows(name, rows["image_id"], rows["group"], rows["value"])


def _searches(
    name: str,
    ranking_query_metrics: pd.DataFrame,
    method: str,
    measure: str,
    is_composed: bool = False,
) -> pd.DataFrame:
    rows = ranking_query_metrics[
        ((ranking_query_metrics["kind"] == "composed") == is_composed)
        & (ranking_query_metrics["method"] == method)
        & (ranking_query_metrics["measure"] == measure)
    ]
    return _rows(name, rows["kind"] + "/" + rows["product_id"], rows["group"], rows["value"])


def _rows(name: str, cases: object, groups: object, values: object) -> pd.DataFrame:
    columns = (
        np.asarray(cases, dtype=np.str_).tolist(),
        np.asarray(groups, dtype=np.str_).tolist(),
        np.asarray(values, dtype=np.float64),
    )
    return pd.DataFrame(dict(zip(CASE_METRICS[1:], columns, strict=True))).assign(measure=name)[
        list(CASE_METRICS)
    ]
