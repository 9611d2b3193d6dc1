from types import SimpleNamespace

import numpy as np
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.ranking import lambdamart
from fb_marketplace.pipelines.ranking.lambdamart import (
    FOLDS,
    _folds,
    cross_validated_ndcg,
    train_lambdamart,
)
from fb_marketplace.pipelines.ranking.training_data import (
    MAX_CANDIDATES,
    RankingDataset,
    ranking_dataset,
)
from fb_marketplace_serving.search.candidates import CandidateSet
from fb_marketplace_serving.search.ranking.ranker import Ranker
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES

WORDS, DISTANCE = FEATURES.index("bm25_similarity"), FEATURES.index("distance_km")


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Two threads wait for each other by spinning: on a busy machine that takes a hundred times as long."""
    monkeypatch.setattr(lambdamart, "openmp_threads", lambda: 1)


@pytest.fixture(scope="module")
def lessons():
    """Queries whose relevant hits match the words; distance is missing."""
    random = np.random.default_rng(0)
    sizes = random.integers(5, 40, 80)
    features = random.normal(size=(sizes.sum(), len(FEATURES)))
    features[:, DISTANCE] = np.nan
    grades = np.clip(np.round(features[:, WORDS] + random.normal(size=sizes.sum()) / 3), 0, 3)
    groups = np.array([f"g{number // 2}" for number in range(len(sizes))])
    return RankingDataset(features, grades.astype(np.int8), sizes, groups)


def test_trees_learn_the_relevant_feature(lessons, growing):
    model, card = train_lambdamart(lessons, growing)

    ranker = Ranker.from_bytes(model)
    scores = ranker.scores(lessons.features)
    assert np.corrcoef(scores, lessons.features[:, WORDS])[0, 1] > 0.8
    parts = np.abs(ranker.contributions(lessons.features).parts).mean(axis=0)
    assert parts.argmax() == WORDS
    assert parts[DISTANCE] == 0
    assert 1 <= card["trees"] <= growing.num_boost_round
    assert card["folds"] == FOLDS
    assert card["ndcg_at_10_of_folds"] > 0.8


@pytest.mark.parametrize("cores", [1, 2])
def test_training_is_deterministic(lessons, growing, monkeypatch, cores):
    few = growing.model_copy(update={"num_boost_round": 2})
    once = train_lambdamart(lessons, few)

    monkeypatch.setattr(lambdamart, "openmp_threads", lambda: cores)

    assert train_lambdamart(lessons, few) == once


def test_cross_validated_ndcg_agrees_with_card(lessons, growing):
    _, card = train_lambdamart(lessons, growing)

    ndcg = cross_validated_ndcg(lessons, growing)

    assert ndcg.shape == lessons.sizes.shape
    # LightGBM averages over folds.
    assert np.nanmean(ndcg) == pytest.approx(card["ndcg_at_10_of_folds"], abs=0.01)


def test_query_without_relevant_candidate_has_no_ndcg(lessons, growing):
    grades = np.maximum(lessons.grades, 1)
    grades[: lessons.sizes[0]] = 0

    ndcg = cross_validated_ndcg(lessons._replace(grades=grades), growing)

    assert np.isnan(ndcg[0])
    assert np.isfinite(ndcg[1:]).all()


def test_folds_do_not_split_groups(lessons):
    search = np.repeat(np.arange(len(lessons.sizes)), lessons.sizes)
    measured = []
    for learned_rows, measured_rows in _folds(lessons, seed=0):
        groups = [set(lessons.groups[search[rows]]) for rows in (learned_rows, measured_rows)]
        assert not groups[0] & groups[1]
        assert len(learned_rows) + len(measured_rows) == len(lessons.features)
        # What LightGBM takes for searches are runs of rows: none may be cut.
        assert np.isin(search, search[measured_rows]).sum() == len(measured_rows)
        measured.append(measured_rows)
    assert len(measured) == FOLDS
    assert sorted(np.concatenate(measured)) == list(range(len(lessons.features)))


def search(fused, group="g"):
    """A query with features and grades by position."""
    count = len(fused)
    positions = np.arange(count)
    return SimpleNamespace(
        features=np.tile(positions[:, np.newaxis], (1, len(FEATURES))).astype(np.float64),
        grades=(positions % 4).astype(np.int8),
        candidates=CandidateSet(positions, {}, {}, np.array(fused, np.float64), np.full(count, -1)),
        query=SimpleNamespace(group=group),
    )


def test_queries_without_hits_are_skipped():
    result = ranking_dataset([search([0.1, 0.2], "g"), search([], "h"), search([0.3] * 3, "i")])

    assert result.sizes.tolist() == [2, 3]
    assert result.groups.tolist() == ["g", "i"]
    assert result.features[:, 0].tolist() == [1, 0, 0, 1, 2]
    assert result.grades.tolist() == [1, 0, 0, 1, 2]


def test_training_uses_top_candidates_of_each_query():
    fused = np.random.default_rng(0).permutation(3 * MAX_CANDIDATES).astype(np.float64)

    result = ranking_dataset([search(fused)])

    assert result.sizes.tolist() == [MAX_CANDIDATES]
    assert result.features[:, 0].tolist() == np.argsort(-fused)[:MAX_CANDIDATES].tolist()


def test_synthetic_queries_do_not_train_on_the_age():
    result = ranking_dataset([search([0.1, 0.2])])

    age = FEATURES.index("age_days")
    assert np.isnan(result.features[:, age]).all()
    assert not np.isnan(np.delete(result.features, age, axis=1)).any()


def about(groups):
    """Queries by group, with grades that depend on matching words."""
    random = np.random.default_rng(1)
    features = random.normal(size=(20 * len(groups), len(FEATURES)))
    grades = np.clip(np.round(features[:, WORDS]), 0, 3).astype(np.int8)
    return RankingDataset(features, grades, np.full(len(groups), 20), np.array(groups))


def test_few_groups_are_one_fold_each(growing):
    few = growing.model_copy(update={"num_boost_round": 2})

    assert train_lambdamart(about(["g", "h", "g", "i"]), few)[1]["folds"] == 3


def test_single_group_is_rejected(growing):
    with pytest.raises(UserError, match=r"\b3\b.*group"):
        train_lambdamart(about(["g", "g", "g"]), growing)
