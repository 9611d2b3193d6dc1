"""Summary of retrieval metrics: estimates, gains over baselines, and a table by category."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group
from fb_marketplace.evaluation.retrieval_metrics import (
    AVERAGE_PRECISION,
    NDCG,
    PRECISION,
    RECALLS,
)
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import ENCODER
from fb_marketplace.pipelines.indexing.evaluate_retrieval import (
    FULL_GALLERY,
    SAMPLED_GALLERY,
    WITHIN_SPLIT,
)

METRICS: Final = (*RECALLS, AVERAGE_PRECISION, PRECISION, NDCG)
HIT_METRICS: Final = (*RECALLS, PRECISION, NDCG)
"""Metrics that need only the first hits. An index does not return a full ranking."""

FIRST, *_, TENTH = RECALLS
CATEGORY_METRICS: Final = (FIRST, TENTH, PRECISION, NDCG)
"""Metrics of the table by category."""


class Report(NamedTuple):
    """Metrics by gallery, and a table by category."""

    metrics: dict[str, Any]
    by_category: pd.DataFrame


def summarize_retrieval(
    retrieval_full_gallery: pd.DataFrame,
    retrieval_within_split: pd.DataFrame,
    parameters: RetrievalParameters,
) -> Report:
    """Estimate each metric with an interval over groups, and compare it with the baselines.

    Args:
        retrieval_full_gallery: metrics per query, over all photos of the index and over a sample.
        retrieval_within_split: metrics per query, over the photos of its own split.
        parameters: parameters of the bootstrap.

    Returns:
        Metrics of the encoder by gallery (``all_photos``, ``sampled_photos``, ``test_photos``,
        ``validation_photos``);
        ``baselines``, the metrics of other embeddings by gallery and name; and ``gains``, the mean paired
        differences of the encoder to each of them. Also a table of the encoder's metrics by category, for
        the gallery of the test split.

    Raises:
        UserError: no listing of a split has two photos that are not copies.
    """
    metrics: dict[str, Any] = {
        gallery: _estimates(
            _select(retrieval_full_gallery, gallery, ENCODER), HIT_METRICS, parameters
        )
        for gallery in (FULL_GALLERY, SAMPLED_GALLERY)
    } | {
        "baselines": {},
        "gains": {},
    }
    others = [name for name in retrieval_within_split["embedding"].unique() if name != ENCODER]
    for gallery in WITHIN_SPLIT.values():
        ours = _select(retrieval_within_split, gallery, ENCODER)
        theirs = {name: _select(retrieval_within_split, gallery, name) for name in others}
        metrics[gallery] = _estimates(ours, METRICS, parameters)
        metrics["baselines"][gallery] = {
            name: _estimates(queries, _metric_names(queries), parameters)
            for name, queries in theirs.items()
        }
        metrics["gains"][gallery] = {
            name: _gains(ours, queries, parameters) for name, queries in theirs.items()
        }
    test = _select(retrieval_within_split, WITHIN_SPLIT["test"], ENCODER)
    return Report(metrics, _by_category(test, parameters))


def _select(queries: pd.DataFrame, gallery: str, embedding: str) -> pd.DataFrame:
    return queries[(queries["gallery"] == gallery) & (queries["embedding"] == embedding)]


def _metric_names(queries: pd.DataFrame) -> list[str]:
    return [name for name in METRICS if (queries["measure"] == name).any()]


def _estimates(
    queries: pd.DataFrame, measures: Iterable[str], parameters: RetrievalParameters
) -> dict[str, Any]:
    parts = {name: queries[queries["measure"] == name] for name in measures}
    return {
        name: _estimate(part["value"], part["group"], parameters).to_dict()
        | {
            "random_baseline": round(float(part["random_baseline"].mean()), 5),
            "gallery": int(part["photos"].max()),
        }
        for name, part in parts.items()
    }


def _gains(
    ours: pd.DataFrame, theirs: pd.DataFrame, parameters: RetrievalParameters
) -> dict[str, Any]:
    """Estimate the mean difference of each metric over the queries that both have."""
    pairs = ours.merge(theirs, on=["measure", "image_id"], suffixes=("", "_theirs"), validate="1:1")
    pairs["gain"] = pairs["value"] - pairs["value_theirs"]
    parts = {name: pairs[pairs["measure"] == name] for name in _metric_names(pairs)}
    return {
        name: _estimate(part["gain"], part["group"], parameters).to_dict()
        for name, part in parts.items()
    }


def _by_category(queries: pd.DataFrame, parameters: RetrievalParameters) -> pd.DataFrame:
    rows = []
    for category, part in queries.groupby("category", sort=True):
        row: dict[str, Any] = {
            "category": category,
            "queries": part["image_id"].nunique(),
            "with_partner": int((part["measure"] == FIRST).sum()),
        }
        for name in CATEGORY_METRICS:
            row |= _flatten(name, part[part["measure"] == name], parameters)
        rows.append(row)
    return pd.DataFrame(rows)


def _flatten(name: str, queries: pd.DataFrame, parameters: RetrievalParameters) -> dict[str, float]:
    """Return an estimate as columns; NaN if there is no query."""
    columns = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    if queries.empty:
        return dict.fromkeys([*columns, f"{name}_random_baseline"], np.nan)
    estimate = _estimate(queries["value"], queries["group"], parameters).to_dict()
    baseline = round(float(queries["random_baseline"].mean()), 4)
    return {column: estimate[key] for column, key in columns.items()} | {
        f"{name}_random_baseline": baseline
    }


def _estimate(
    values: "pd.Series[Any]", groups: "pd.Series[Any]", parameters: RetrievalParameters
) -> Estimate:
    return mean_by_group(
        values, groups, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    )
