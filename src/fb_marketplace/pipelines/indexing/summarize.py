"""What the measures of queries come to: estimates, differences, and a table by category."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group
from fb_marketplace.evaluation.console import Metric, log_metrics
from fb_marketplace.evaluation.retrieval_metrics import (
    AVERAGE_PRECISION,
    NDCG,
    PRECISION,
    RECALLS,
)
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import ENCODER
from fb_marketplace.pipelines.indexing.evaluate_retrieval import FULL_GALLERY, WITHIN_SPLIT

METRICS: Final = (*RECALLS, AVERAGE_PRECISION, PRECISION, NDCG)
HIT_METRICS: Final = (*RECALLS, PRECISION, NDCG)
"""Those that the first hits suffice for, which is all that an index gives."""

FIRST, *_, TENTH = RECALLS
SHOWN: Final = (FIRST, TENTH, PRECISION, NDCG)
"""By category."""


class Report(NamedTuple):
    """Metrics by gallery, and a table by category."""

    metrics: dict[str, Any]
    by_category: pd.DataFrame


def summarize_retrieval(
    retrieval_full_gallery: pd.DataFrame,
    retrieval_within_split: pd.DataFrame,
    parameters: RetrievalParameters,
) -> Report:
    """Estimate each measure, with an interval over groups, beside chance and what it has to beat.

    Args:
        retrieval_full_gallery: queries that the index was asked.
        retrieval_within_split: queries among the photos of their own split.
        parameters: of the bootstrap.

    Returns:
        Metrics: the encoder's by gallery (``all_photos``, ``test_photos``, ``validation_photos``);
        ``baselines``, those of the others by gallery and name; and ``gains``, by how much the encoder is
        better than each, query by query. And for the gallery of the test split the encoder's by
        category.

    Raises:
        UserError: a split has no photo with a partner.
    """
    metrics: dict[str, Any] = {
        FULL_GALLERY: _estimates(
            _of(retrieval_full_gallery, FULL_GALLERY, ENCODER), HIT_METRICS, parameters
        ),
        "baselines": {},
        "gains": {},
    }
    others = [name for name in retrieval_within_split["embedding"].unique() if name != ENCODER]
    for gallery in WITHIN_SPLIT.values():
        ours = _of(retrieval_within_split, gallery, ENCODER)
        theirs = {name: _of(retrieval_within_split, gallery, name) for name in others}
        metrics[gallery] = _estimates(ours, METRICS, parameters)
        metrics["baselines"][gallery] = {
            name: _estimates(found, _measures_of(found), parameters)
            for name, found in theirs.items()
        }
        metrics["gains"][gallery] = {
            name: _gains(ours, found, parameters) for name, found in theirs.items()
        }
    tested = _of(retrieval_within_split, WITHIN_SPLIT["test"], ENCODER)
    return Report(metrics, _by_category(tested, parameters))


LABELS: Final = {
    FIRST: "R@1",
    TENTH: "R@10",
    AVERAGE_PRECISION: "mAP",
    PRECISION: "P@10",
    NDCG: "NDCG@10",
}
"""Metrics that a run logs, and their usual abbreviations."""


def log_retrieval_metrics(retrieval_metrics: dict[str, Any]) -> None:
    """Log the metrics of each gallery, with the random baseline and the gain over other embeddings."""
    for gallery in (FULL_GALLERY, *WITHIN_SPLIT.values()):
        encoder = retrieval_metrics[gallery]
        others = retrieval_metrics["baselines"].get(gallery, {})
        gains = retrieval_metrics["gains"].get(gallery, {})
        log_metrics(
            f"image retrieval, {gallery}",
            {
                ENCODER: _labelled(encoder),
                "random order": {
                    label: encoder[name]["chance"]
                    for name, label in LABELS.items()
                    if name in encoder
                },
                **{name: _labelled(metrics) for name, metrics in others.items()},
            },
            {f"{ENCODER} - {name}": _labelled(gain) for name, gain in gains.items()},
        )


def _labelled(metrics: dict[str, Any]) -> dict[str, Metric]:
    return {label: metrics[name] for name, label in LABELS.items() if name in metrics}


def _of(queries: pd.DataFrame, gallery: str, embedding: str) -> pd.DataFrame:
    return queries[(queries["gallery"] == gallery) & (queries["embedding"] == embedding)]


def _measures_of(queries: pd.DataFrame) -> list[str]:
    return [name for name in METRICS if (queries["measure"] == name).any()]


def _estimates(
    queries: pd.DataFrame, measures: Iterable[str], parameters: RetrievalParameters
) -> dict[str, Any]:
    parts = {name: queries[queries["measure"] == name] for name in measures}
    return {
        name: _estimate(part["value"], part["group"], parameters).to_dict()
        | {"chance": round(float(part["chance"].mean()), 5), "gallery": int(part["photos"].max())}
        for name, part in parts.items()
    }


def _gains(
    ours: pd.DataFrame, theirs: pd.DataFrame, parameters: RetrievalParameters
) -> dict[str, Any]:
    """Estimate the mean difference of the same queries, where both have a measure."""
    pairs = ours.merge(theirs, on=["measure", "image_id"], suffixes=("", "_theirs"), validate="1:1")
    pairs["gain"] = pairs["value"] - pairs["value_theirs"]
    parts = {name: pairs[pairs["measure"] == name] for name in _measures_of(pairs)}
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
        for name in SHOWN:
            row |= _flat(name, part[part["measure"] == name], parameters)
        rows.append(row)
    return pd.DataFrame(rows)


def _flat(name: str, queries: pd.DataFrame, parameters: RetrievalParameters) -> dict[str, float]:
    """Give an estimate as columns, missing where no query counts."""
    columns = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    if queries.empty:
        return dict.fromkeys([*columns, f"{name}_chance"], np.nan)
    found = _estimate(queries["value"], queries["group"], parameters).to_dict()
    chance = round(float(queries["chance"].mean()), 4)
    return {column: found[of] for column, of in columns.items()} | {f"{name}_chance": chance}


def _estimate(
    values: "pd.Series[Any]", groups: "pd.Series[Any]", parameters: RetrievalParameters
) -> Estimate:
    return mean_by_group(
        values, groups, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    )
