"""What a run says of its own search: a few lines for a terminal or a log."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from fb_marketplace.evaluation.retrieval_metrics import (
    AVERAGE_PRECISION,
    NDCG,
    PRECISION,
    RECALLS,
)
from fb_marketplace.pipelines.indexing.comparison_embeddings import ENCODER
from fb_marketplace.pipelines.indexing.evaluate_retrieval import FULL_GALLERY, WITHIN_SPLIT

logger = logging.getLogger(__name__)

FIRST, _, TENTH = RECALLS
SHOWN: Final = {
    FIRST: "R@1",
    TENTH: "R@10",
    AVERAGE_PRECISION: "mAP",
    PRECISION: "P@10",
    NDCG: "NDCG@10",
}


def log_retrieval_metrics(retrieval_metrics: dict[str, Any]) -> None:
    """Log what :func:`lines` tells."""
    for line in lines(retrieval_metrics):
        logger.info("%s", line)


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Tell the measures by gallery, each with its interval, beside what they have to beat."""
    told = [f"{FULL_GALLERY}, in the index as served; photos of the test split ask"]
    told += _encoder(metrics[FULL_GALLERY])
    for split, gallery in WITHIN_SPLIT.items():
        told.append(f"{gallery}, exactly; photos of the {split} split ask each other")
        told += _encoder(metrics[gallery])
        for name, found in metrics["baselines"][gallery].items():
            told.append(f"  {name}: {_measures(found)}")
            told.append(f"  {ENCODER} - {name}: {_measures(metrics['gains'][gallery][name], '+')}")
    return told


def _encoder(found: Mapping[str, Any]) -> list[str]:
    by_chance = ", ".join(
        f"{name} {found[measure]['chance']:.4f}"
        for measure, name in SHOWN.items()
        if measure in found
    )
    return [f"  {ENCODER}: {_measures(found)}", f"  a random order: {by_chance}"]


def _measures(found: Mapping[str, Any], sign: str = "") -> str:
    return ", ".join(
        f"{name} {_estimate(found[measure], sign)}"
        for measure, name in SHOWN.items()
        if measure in found
    )


def _estimate(found: Mapping[str, Any], sign: str) -> str:
    return f"{found['value']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"
