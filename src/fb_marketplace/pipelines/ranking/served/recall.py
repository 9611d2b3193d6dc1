"""Recall@10 of a listing for queries in other words than its title: with typos, and paraphrased."""

import random
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.query_text import misspell
from fb_marketplace.evaluation.random_baseline import random_recall
from fb_marketplace.evaluation.retrieval_metrics import DEPTH
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.served.cases import (
    Evaluation,
    case_table,
    estimate_mean,
    estimate_ratio,
)
from fb_marketplace.pipelines.ranking.served.search import ServedSearch
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery

RECALL: Final = f"recall_at_{DEPTH}"
TYPO_RECALL: Final = f"typo_{RECALL}"
PARAPHRASE_RECALL: Final = f"paraphrase_{RECALL}"

MIN_TYPO_LENGTH: Final = 5
"""Minimum letters of a word that gets a typo."""


def has_long_word(query: SearchQuery) -> bool:
    """Return whether a query has a word that can get a typo."""
    return any(_can_misspell(word) for word in query.words.split())


def evaluate_typos(
    served: ServedSearch, queries: Sequence[SearchQuery], parameters: RankingEvaluationParameters
) -> Evaluation:
    """Evaluate queries with one edit in a word of five letters or more.

    Args:
        served: the search.
        queries: correctly spelled queries, each with such a word.
        parameters: parameters of the bootstrap, and the seed of the typos.

    Returns:
        Metrics, all Recall@10 of the listing unless noted: number of ``typos``; ``recall_at_10`` with the
        server's correction; ``uncorrected``, the baseline; ``correctly_spelled``, without typos, and
        ``to_correctly_spelled``, the ratio to it; ``restored``, the share of typos that become the original
        query; and how many correctly spelled queries are ``changed``, and how many of them find the listing
        ``worse``. Only ``typos`` if there are none. Cases: the recall by query, of queries whose correct
        spelling finds the listing. Without the others it hardly depends on the size of the market.
    """
    if not queries:
        return Evaluation({"typos": 0}, case_table([], {}))
    rows = []
    for query in queries:
        chance = random.Random(f"{parameters.seed} {query.kind} {query.product_id}")
        parts = query.words.split()
        place = chance.choice([n for n, word in enumerate(parts) if _can_misspell(word)])
        typo = " ".join([*parts[:place], misspell(parts[place], chance), *parts[place + 1 :]])
        corrected, unchanged = served.correct(typo), served.correct(query.words)
        rows.append(
            {
                "typo": served.finds(corrected, query.product_id),
                "uncorrected": served.finds(typo, query.product_id),
                "spelled": served.finds(query.words, query.product_id),
                "spelled_corrected": served.finds(unchanged, query.product_id),
                "restored": corrected == query.words,
                "changed": unchanged != query.words,
            }
        )
    table = pd.DataFrame(rows)
    groups = [query.group for query in queries]
    spelled = table["spelled_corrected"]
    return Evaluation(
        {
            "typos": len(queries),
            RECALL: estimate_mean(table["typo"], groups, parameters),
            "uncorrected": estimate_mean(table["uncorrected"], groups, parameters),
            "correctly_spelled": estimate_mean(spelled, groups, parameters),
            "to_correctly_spelled": estimate_ratio(table["typo"], spelled, groups, parameters),
            "restored": round(float(table["restored"].mean()), 4),
            "changed": int(table["changed"].sum()),
            "worse": int((table["spelled"] & ~spelled).sum()),
        },
        case_table(
            [query for query, is_found in zip(queries, spelled, strict=True) if is_found],
            {TYPO_RECALL: table.loc[spelled, "typo"].astype(float).to_list()},
        ),
    )


def evaluate_paraphrases(
    served: ServedSearch, queries: Sequence[SearchQuery], parameters: RankingEvaluationParameters
) -> Evaluation:
    """Evaluate queries in other words than the title; see :func:`.reworded_queries`.

    Args:
        served: the search.
        queries: the queries.
        parameters: parameters of the bootstrap.

    Returns:
        Metrics: by kind of query, and for ``all``, Recall@10 of the listing with its ``random_baseline``,
        ten random families. Cases: the recall by query.
    """
    values = [float(served.finds(served.correct(q.words), q.product_id)) for q in queries]
    families = len(np.unique(served.corpus.indexes.listings.features.family))
    baseline = round(float(random_recall(np.array([1]), np.array([families]), DEPTH)[0]), 4)
    metrics: dict[str, Any] = {}
    for kind in (*sorted({query.kind for query in queries}), "all"):
        chosen = [n for n, query in enumerate(queries) if kind in (query.kind, "all")]
        recall = estimate_mean(
            [values[n] for n in chosen], [queries[n].group for n in chosen], parameters
        )
        metrics[kind] = recall and recall | {"random_baseline": baseline}
    return Evaluation(metrics, case_table(queries, {PARAPHRASE_RECALL: values}))


def _can_misspell(word: str) -> bool:
    return len(word) >= MIN_TYPO_LENGTH and word.isalpha() and word.isascii()
