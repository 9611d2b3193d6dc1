"""What a run says of its own search by words and photos: a few lines for a terminal or a log."""

import logging
from collections.abc import Mapping
from typing import Any

from fb_marketplace.evaluation.retrieval_metrics import NDCG
from fb_marketplace.pipelines.ranking.metrics import RECALL

logger = logging.getLogger(__name__)


def log_ranking_metrics(ranking_metrics: dict[str, Any]) -> None:
    """Log what :func:`lines` tells."""
    for line in lines(ranking_metrics):
        logger.info("%s", line)


def lines(metrics: Mapping[str, Any]) -> list[str]:
    """Tell the measures by kind of search, each with its interval, and what the ranker gains."""
    told = [f"searches for the listings of the test split, among its {metrics['listings']:,}"]
    for kind, measures in metrics["searches"].items():
        methods = measures[NDCG]["methods"]
        cases = next(iter(methods.values()))["cases"]
        told.append(f"{kind}, {cases:,} searches: NDCG@10, and R@10 of the source listing")
        told += [
            f"  {name}: {_estimate(found)}, {_estimate(measures[RECALL]['methods'][name])}"
            for name, found in methods.items()
        ]
        told += [
            f"  ranker - {name}: {_estimate(gain, '+')}{_share(gain['share'])}"
            for name, gain in measures[NDCG]["gains"].items()
        ]
    pictured = metrics["words_to_pictures"]
    told.append(
        f"titles among {pictured['photos']:,} photos without text: R@10 "
        f"{_estimate(pictured['recall_at_10'])}, {pictured['times']:.1f} times that of photos drawn from "
        f"the right category, {_estimate(pictured['in_category'])}"
    )
    return told


def _share(share: float | None) -> str:
    return "" if share is None else f" ({share:+.1%})"


def _estimate(found: Mapping[str, Any], sign: str = "") -> str:
    return f"{found['value']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"
