"""Training of the model that predicts which listings are relevant to a search."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.query_text import content_words
from fb_marketplace.evaluation.relevance import SAME_PATH
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.ranking import RelevanceParameters
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.composed_queries import (
    COMPOSED,
    make_composed_queries,
)
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.lambdamart import model_text, split_groups
from fb_marketplace.pipelines.ranking.reworded_queries import reworded_queries
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery, make_queries
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace_serving.search.candidates import collect_candidates
from fb_marketplace_serving.search.ranking.relevance import (
    MONOTONE_CONSTRAINTS,
    RELEVANCE_FEATURES,
    RelevanceFeatures,
    relevance_bytes,
)

WORD_KINDS: Final = ("one_word", "two_words")
NONSENSE: Final = "nonsense"
ALL_TERMS: Final = 0.999
"""Minimum share of the terms in a title that has all of them: the weights are rounded."""

THRESHOLDS: Final = np.arange(0.05, 0.96, 0.01).round(2)

REPETITIONS: Final = 3
"""Cross-validations, each with other folds, for a threshold that depends less on chance."""


class TrainedRelevance(NamedTuple):
    """The model, see :class:`RelevanceModel`, and a card."""

    model: bytes
    card: dict[str, Any]


class _Rows(NamedTuple):
    """Listings of searches: features, relevance, weights, and the number and group of their searches."""

    features: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    weights: NDArray[np.float64]
    searches: NDArray[np.int64]
    groups: NDArray[np.str_]


def train_relevance(
    ranking_corpus: SearchEvaluationData, bm25: BM25Parameters, parameters: RelevanceParameters
) -> TrainedRelevance:
    """Train the model on searches for the validation listings.

    A listing is relevant if it has the category path of the listing that the search is for, or if its title
    has all words of the search; both for composed queries. Nothing is relevant to nonsense.

    Args:
        ranking_corpus: the listings.
        bm25: parameters of BM25.
        parameters: the trees, the number of searches and listings, and the precision of the threshold.

    Returns:
        The model and a card: numbers of ``searches`` and ``listings``, the ``threshold``, and
        ``precision`` and ``recall`` there, means over searches by words in repeated cross-validation over
        groups; and the ``curve``, both by threshold.

    Raises:
        InsufficientDataError: there are too few searches, or they belong to one group.
    """
    import lightgbm

    queries = relevance_queries(ranking_corpus, "validation", parameters)
    if len(queries) < parameters.min_queries:
        raise InsufficientDataError(
            f"the validation split gives {len(queries)} searches, but {parameters.min_queries} are needed "
            "for the relevance model"
        )
    corpus = ranking_corpus.corpus("validation", bm25)
    rows = _rows(corpus, ranking_corpus.query_encoder(), queries, ranking_corpus.labels, parameters)
    if len(set(rows.groups.tolist())) < 2 or not rows.relevant.any():
        raise InsufficientDataError("all searches of the validation split belong to one group")
    settings = _settings(parameters)

    def fit(part: NDArray[np.int64]) -> Any:
        data = lightgbm.Dataset(
            rows.features[part],
            rows.relevant[part].astype(np.float64),
            weight=rows.weights[part],
            feature_name=list(RELEVANCE_FEATURES),
            params={"verbose": -1},
        )
        return lightgbm.train(settings, data, num_boost_round=parameters.num_boost_round)

    held_out = np.empty((REPETITIONS, len(rows.features)))
    for repetition, predicted in enumerate(held_out):
        for train, test in split_groups(rows.groups, parameters.seed + repetition):
            predicted[test] = fit(train).predict(rows.features[test])
    words = ~np.isnan(rows.features[:, RELEVANCE_FEATURES.index("query_terms")])
    curve = precision_recall_curve(
        held_out[:, words], rows.relevant[words], rows.weights[words], rows.searches[words]
    )
    threshold, precision, recall = choose_threshold(curve, parameters.precision)
    model = fit(np.arange(len(rows.features)))
    return TrainedRelevance(
        relevance_bytes(model_text(model), threshold),
        {
            "searches": len(queries),
            "listings": len(rows.features),
            "threshold": threshold,
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "curve": [point._asdict() for point in curve],
        },
    )


class CurvePoint(NamedTuple):
    """A threshold, and the mean precision and recall of the searches whose listings have to reach it."""

    threshold: float
    precision: float
    recall: float


def precision_recall_curve(
    probabilities: NDArray[np.float64],
    relevant: NDArray[np.bool_],
    weights: NDArray[np.float64],
    searches: NDArray[np.int64],
) -> list[CurvePoint]:
    """Return precision and recall by threshold, without thresholds that no listing reaches.

    Both are means over searches, and over repetitions: precision of the searches with results, recall of
    those with relevant listings. A search with many results counts as much as one with few.

    Args:
        probabilities: float64, (repetitions, listings).
        relevant: bool, (listings,).
        weights: float64, (listings,), number of listings that each stands for.
        searches: int64, (listings,), number of the search that each belongs to.
    """
    _, search = np.unique(searches, return_inverse=True)
    steps = len(THRESHOLDS) + 1
    shape = (int(search.max(initial=-1)) + 1, steps)

    def count(step: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of the values that reach each step: float64, (searches, steps)."""
        sums = np.bincount(search * steps + step, values, shape[0] * steps).reshape(shape)
        return sums[:, ::-1].cumsum(axis=1)[:, ::-1]

    precisions, recalls = [], []
    for predicted in probabilities:
        step = np.searchsorted(THRESHOLDS, predicted, side="right")
        passing, right = count(step, weights), count(step, weights * relevant)
        with np.errstate(invalid="ignore"):
            precisions.append((right / passing)[:, 1:])
            recalls.append((right / right[:, :1])[:, 1:])
    precision, recall = np.concatenate(precisions), np.concatenate(recalls)
    return [
        CurvePoint(threshold, _mean(precision[:, place]), _mean(recall[:, place]))
        for place, threshold in enumerate(THRESHOLDS.tolist())
        if not np.isnan(precision[:, place]).all()
    ]


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not NaN; 0 if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def choose_threshold(curve: Sequence[CurvePoint], precision: float) -> CurvePoint:
    """Choose the smallest threshold with a precision; the one with the best precision if none has it."""
    if not curve:
        return CurvePoint(float(THRESHOLDS[0]), 0.0, 0.0)
    reached = [point for point in curve if point.precision >= precision]
    return (
        reached[0] if reached else max(curve, key=lambda point: (point.precision, -point.threshold))
    )


def relevance_queries(
    data: SearchEvaluationData, split: str, parameters: RelevanceParameters
) -> list[SearchQuery]:
    """Build searches for the listings of a split: those of the ranker, single words, pairs and nonsense.

    Queries in other words than the title are among them. Without them, the model learns that words of
    descriptions mean little. A sample of at most ``max_queries`` is drawn.
    """
    tables = data.products, data.splits, data.duplicate_groups
    queries = make_queries(*tables, split)
    members = sorted({(query.product_id, query.group) for query in queries})
    queries += reworded_queries(data.products, members)
    queries += make_composed_queries(*tables, split)
    queries += word_queries(data.products, data.splits, split, parameters.seed)
    chance = random.Random(parameters.seed)
    if len(queries) > parameters.max_queries:
        queries = chance.sample(queries, parameters.max_queries)
    nonsense = max(1, len(queries) // 10) if queries else 0
    return [*queries, *(nonsense_query(chance, number) for number in range(nonsense))]


def word_queries(
    products: pd.DataFrame, splits: pd.DataFrame, split: str, seed: int
) -> Iterator[SearchQuery]:
    """Draw a word, and a pair of words, of each title of a split."""
    members = splits[splits["split"] == split].drop_duplicates("product_id")
    titles = dict(zip(products["product_id"], products["title"], strict=True))
    for product, group in sorted(zip(members["product_id"], members["group"], strict=True)):
        words = [word for word in content_words(titles.get(product, "")) if len(word) > 2]
        chance = random.Random(f"{seed} {product}")
        for count, kind in enumerate(WORD_KINDS, start=1):
            if len(words) >= count:
                chosen = sorted(chance.sample(range(len(words)), count))
                text = " ".join(words[place] for place in chosen)
                yield SearchQuery(kind, product, group, text, None, frozenset())


def _rows(
    corpus: SearchCorpus,
    encoder: QueryEncoder,
    queries: Sequence[SearchQuery],
    labels: tuple[str, ...],
    parameters: RelevanceParameters,
) -> _Rows:
    """Return the listings of searches: candidates, relevant ones, and a sample of all others.

    Listings that are not candidates are sampled, and weighted by the number of listings that they
    represent.
    """
    indexes, chance = corpus.indexes, np.random.default_rng(parameters.seed)
    parts: list[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]] = []
    with Progress("searches judged for relevance", len(queries)) as progress:
        for query in queries:
            vectors, mask = encoder.encode(query), corpus.rows_without(query.hidden)
            candidates = collect_candidates(indexes, vectors, row_mask=mask)
            relevant, _ = judge_relevance(corpus, query)
            is_candidate = np.zeros(len(relevant), np.bool_)
            is_candidate[candidates.positions] = True
            others = np.flatnonzero(~(relevant | is_candidate))
            missed = np.flatnonzero(relevant & ~is_candidate)
            chosen = relevant | is_candidate
            negatives = chance.permutation(others)[: parameters.negatives]
            weight = np.ones(len(relevant))
            weight[negatives] = len(others) / max(1, len(negatives))
            if len(missed) > parameters.max_relevant:
                sample = chance.choice(missed, parameters.max_relevant, replace=False)
                chosen[missed] = False
                chosen[sample] = True
                weight[sample] = len(missed) / len(sample)
            positions = np.concatenate([np.flatnonzero(chosen), negatives]).astype(np.int64)
            weights = weight[positions]
            features = RelevanceFeatures(indexes, vectors, candidates, labels)
            parts.append((features.matrix(positions), relevant[positions], weights))
            progress.advance(1)
    sizes = [len(part[1]) for part in parts]
    features_, relevant_, weights_ = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Rows(
        features_,
        relevant_,
        weights_,
        np.repeat(np.arange(len(queries)), sizes),
        np.repeat([query.group for query in queries], sizes),
    )


def judge_relevance(
    corpus: SearchCorpus, query: SearchQuery
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which listings are relevant, and which have all words in the title: bool, (listings,)."""
    has_all = np.zeros(len(corpus.indexes.listings), np.bool_)
    if query.kind == NONSENSE:
        return has_all, has_all
    if query.words:
        has_all = corpus.indexes.bm25.match(query.words).title >= ALL_TERMS
    is_graded = corpus.grades(query) >= SAME_PATH
    return is_graded if query.kind == COMPOSED else is_graded | has_all, has_all


def nonsense_query(chance: random.Random, number: int) -> SearchQuery:
    """Draw one to three words that mean nothing."""
    words = [
        "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(chance.randint(4, 9)))
        for _ in range(chance.randint(1, 3))
    ]
    return SearchQuery(NONSENSE, "", f"nonsense {number}", " ".join(words), None, frozenset())


def _settings(parameters: RelevanceParameters) -> dict[str, Any]:
    return {
        "objective": "binary",
        "learning_rate": parameters.learning_rate,
        "num_leaves": parameters.num_leaves,
        "min_data_in_leaf": parameters.min_data_in_leaf,
        "lambda_l2": parameters.lambda_l2,
        "monotone_constraints": list(MONOTONE_CONSTRAINTS),
        "seed": parameters.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
