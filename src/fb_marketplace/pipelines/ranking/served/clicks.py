"""Counterfactual evaluation of the ranker on logged searches that it was not trained on."""

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.counterfactual import (
    ESTIMATORS,
    Floats,
    LoggedListings,
    estimate_values,
)
from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.ranking import RankerParameters, RankingEvaluationParameters
from fb_marketplace.parameters.text import BM25Parameters
from fb_marketplace.pipelines.ranking.click_log import evaluation_mask
from fb_marketplace.pipelines.ranking.evaluation_corpus import SearchEvaluationData
from fb_marketplace.pipelines.ranking.lambdamart import split_groups
from fb_marketplace.pipelines.ranking.metrics import FUSION, RANKER
from fb_marketplace.pipelines.ranking.search_corpus import QueryEncoder, SearchCorpus
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace.pipelines.ranking.training_data import exposure
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.candidates import collect_candidates
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features

LOGGED: Final = "logged"
"""The order in which the listings were shown."""

MAX_ROWS: Final = 1_000_000
"""Rows of searches and listings, about 300 bytes each; searches of a text are sampled to stay below it."""

TREES: Final = 50
"""Trees that predict attractiveness."""


def evaluate_clicks(
    ranking_corpus: SearchEvaluationData,
    ranker: FileRef,
    feedback: pd.DataFrame,
    bm25: BM25Parameters,
    training: RankerParameters,
    parameters: RankingEvaluationParameters,
) -> dict[str, Any]:
    """Estimate the value of the ranker's order for the users of the log.

    The value is the discounted sum of the attractiveness of the listings that were shown for a text, see
    :mod:`fb_marketplace.evaluation.counterfactual`. Searches are those of :func:`evaluation_mask`, and only
    first pages: a later page does not say which listings were shown before it. Listings of the test split,
    and those that are no candidates any more, are left out.

    Args:
        ranking_corpus: the listings.
        ranker: the served ranker.
        feedback: impressions and clicks; may be empty.
        bm25: parameters of BM25.
        training: the position bias, and the maximum weight of a click.
        parameters: maximum number of texts, and parameters of the bootstrap over texts.

    Returns:
        Numbers of ``searches`` and ``clicks``. If there are clicks, ``methods``: an estimate by method (the
        ranker, rank fusion and the logged order) and estimator; and ``gains``: the mean paired differences
        of the ranker to the other methods, by estimator.
    """
    impressions = feedback[evaluation_mask(feedback)]
    first = impressions.groupby("search_id")["position"].transform("min") == 1
    impressions = impressions[first]
    if not impressions["clicked"].any():
        return {"searches": int(impressions["search_id"].nunique()), "clicks": 0}
    texts = impressions["words"].drop_duplicates().sort_values()
    texts = texts.iloc[sample_rows(texts.to_list(), parameters.max_queries, parameters.seed)]
    corpus = ranking_corpus.corpus_without("test", bm25)
    searcher = _Searcher(corpus, ranking_corpus.query_encoder(), ranking_corpus.labels)
    model, parts = Ranker.from_bytes(ranker.read()), []
    with Progress("logged queries evaluated", len(texts)) as progress:
        for words, rows in impressions[impressions["words"].isin(texts)].groupby("words"):
            candidates = searcher.search(str(words))
            parts.append(_listings_of_text(rows, candidates, training, MAX_ROWS // len(texts)))
            progress.advance(1)
    rows = pd.concat(parts, ignore_index=True)
    if not rows["clicked"].any():
        return {"searches": int(rows["search_id"].nunique()), "clicks": 0}
    groups = rows["words"] if len(rows["words"].unique()) > 1 else rows["search_id"]
    rows["attractiveness"] = _predict_attractiveness(rows, groups, training.seed)
    rows[RANKER] = model.scores(rows[list(FEATURES)].to_numpy(np.float64))
    rows[FUSION] = rows["fused"]
    return _summary(rows, groups, parameters)


class _Searcher:
    """Searches a corpus for candidates and their features."""

    def __init__(
        self, corpus: SearchCorpus, encoder: QueryEncoder, labels: tuple[str, ...]
    ) -> None:
        self._indexes, self._encoder, self._labels = corpus.indexes, encoder, labels

    def search(self, words: str) -> pd.DataFrame:
        """Return the candidates: ``product_id``, and the features."""
        query = self._encoder.encode(SearchQuery("clicked", "", "", words, None, frozenset()))
        candidates = collect_candidates(self._indexes, query)
        store = self._indexes.listings
        features = compute_features(candidates, query, store, self._labels)
        table = pd.DataFrame(features, columns=list(FEATURES))
        names = [store.product_ids[position] for position in candidates.positions]
        return table.assign(product_id=pd.array(names, "str"))


def _listings_of_text(
    impressions: pd.DataFrame, candidates: pd.DataFrame, training: RankerParameters, max_rows: int
) -> pd.DataFrame:
    """Return a row per search and listing that was shown in any search for the text.

    Searches are sampled if there are more than ``max_rows`` rows; at least one remains.

    Returns:
        ``search_id``, ``words``, ``product_id``, ``clicked``, ``exposure``, ``propensity``, ``logged``
        (a score by the logged order; listings that were not shown are last), and the features.
    """
    searches = impressions[["search_id", "words"]].drop_duplicates()
    chosen = candidates[candidates["product_id"].isin(impressions["product_id"])]
    count = max(1, max_rows // max(1, len(chosen)))
    searches = searches.iloc[sample_rows(searches["search_id"].to_list(), count, training.seed)]
    rows = searches.merge(chosen, how="cross").merge(
        impressions[["search_id", "product_id", "position", "clicked"]],
        on=["search_id", "product_id"],
        how="left",
    )
    rows["exposure"] = [
        0.0 if np.isnan(place) else exposure(int(place), training) for place in rows["position"]
    ]
    expected = rows.groupby("product_id")["exposure"].transform("mean")
    rows["propensity"] = expected.clip(lower=1 / training.max_click_weight)
    rows["clicked"] = rows["clicked"].eq(True)
    rows[LOGGED] = -rows.pop("position").fillna(np.inf)
    return rows


def _predict_attractiveness(rows: pd.DataFrame, groups: "pd.Series[str]", seed: int) -> Floats:
    """Predict the probability of a click on an examined listing, by a model of other groups' clicks.

    Least squares of clicks, predicted as exposure times attractiveness. Without another group, the
    prediction is 0.
    """
    import lightgbm

    features = rows[list(FEATURES)].to_numpy(np.float64)
    exposures = rows["exposure"].to_numpy(np.float64)
    clicked = rows["clicked"].to_numpy(np.float64)
    predicted = np.zeros(len(rows))
    for fitted, predicted_rows in split_groups(groups.to_numpy(np.str_), seed):
        examined = fitted[exposures[fitted] > 0]
        if len(examined):
            weights = exposures[examined]
            data = lightgbm.Dataset(
                features[examined],
                clicked[examined] / weights,
                weight=np.square(weights),
                params={"verbose": -1},
            )
            trees = lightgbm.train(_settings(seed), data, num_boost_round=TREES)
            predicted[predicted_rows] = trees.predict(features[predicted_rows], num_threads=1)
    return np.clip(predicted, 0, 1)


def _settings(seed: int) -> dict[str, Any]:
    return {
        "objective": "regression",
        "num_leaves": 8,
        "min_data_in_leaf": 50,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }


def _summary(
    rows: pd.DataFrame, groups: "pd.Series[str]", parameters: RankingEvaluationParameters
) -> dict[str, Any]:
    search, names = pd.factorize(rows["search_id"])
    group_of_search = groups.groupby(search).first()

    def column(name: str) -> NDArray[Any]:
        return rows[name].to_numpy()

    logged = LoggedListings(
        search.astype(np.int64),
        column("clicked"),
        column("exposure"),
        column("propensity"),
        column("attractiveness"),
    )
    values = {
        method: estimate_values(logged, column(method)) for method in (RANKER, FUSION, LOGGED)
    }

    def estimate(by_search: Floats) -> dict[str, Any]:
        return mean_by_group(
            by_search,
            group_of_search,
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).to_dict()

    return {
        "searches": len(names),
        "clicks": int(rows["clicked"].sum()),
        "methods": {
            method: {name: estimate(by_name[name]) for name in ESTIMATORS}
            for method, by_name in values.items()
        },
        "gains": {
            method: {
                name: estimate(values[RANKER][name] - values[method][name]) for name in ESTIMATORS
            }
            for method in (FUSION, LOGGED)
        },
    }
