import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import lightgbm
import numpy as np
import pytest
from support.builders.small_market import LABELS, draw_query

from fb_marketplace_serving.search.candidates import collect_candidates
from fb_marketplace_serving.search.ranking.ranker import (
    Ranker,
    RankerError,
    load_booster,
    predict,
)
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features


@pytest.fixture(scope="module")
def ranker(ranker_model):
    return Ranker.from_bytes(ranker_model)


@pytest.fixture(scope="module")
def tables(market):
    """Features of the candidates of twenty queries."""
    random = np.random.default_rng(1)
    queries = [draw_query(random) for _ in range(20)]
    return [
        compute_features(
            collect_candidates(market.searched, query), query, market.catalogue, LABELS
        )
        for query in queries
    ]


def test_scores_equal_model_predictions(ranker_model, ranker, tables):
    booster = lightgbm.Booster(model_str=ranker_model.decode())

    for features in tables:
        result = ranker.scores(features)
        np.testing.assert_array_equal(result, booster.predict(features))
        assert np.ptp(result) > 0.1


def test_score_does_not_depend_on_batch(ranker, tables):
    features = tables[0]

    alone = [ranker.scores(features[row : row + 1])[0] for row in range(len(features))]

    np.testing.assert_array_equal(ranker.scores(features), alone)


def test_base_and_parts_sum_to_score(ranker, tables):
    for features in tables:
        base, parts = ranker.contributions(features)

        assert parts.shape == features.shape
        np.testing.assert_allclose(base + parts.sum(axis=1), ranker.scores(features), atol=1e-9)


def test_base_is_constant(ranker, tables):
    assert len({ranker.contributions(features).base for features in tables}) == 1


def test_no_candidates_have_no_scores_or_parts(ranker):
    nothing = np.empty((0, len(FEATURES)))

    assert ranker.scores(nothing).shape == (0,)
    assert ranker.contributions(nothing).parts.shape == (0, len(FEATURES))


def test_many_threads_equal_one_thread(ranker, tables):
    with ThreadPoolExecutor(8) as pool:
        for features, result in zip(tables, pool.map(ranker.scores, tables), strict=True):
            np.testing.assert_array_equal(result, ranker.scores(features))


@pytest.mark.parametrize("names", [[*FEATURES[:-1], "query_terms"], [*FEATURES[1:], FEATURES[0]]])
def test_model_of_other_features_is_rejected(names):
    random = np.random.default_rng(0)
    data = lightgbm.Dataset(
        random.normal(size=(100, len(names))), random.random(100), feature_name=names
    )
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, data, 1)

    with pytest.raises(RankerError, match="features"):
        Ranker.from_bytes(booster.model_to_string().encode())


@pytest.mark.parametrize("data", [b"", b"trees", b"\xff\xfe", b"\nend of trees\n"])
def test_invalid_model_is_rejected(data):
    with pytest.raises(RankerError, match="bytes"):
        Ranker.from_bytes(data)


@pytest.mark.parametrize("values", [b"", b"version=v4\n", b"\xff\n"])
def test_model_with_only_start_and_end_is_rejected(values):
    with pytest.raises(RankerError, match="LightGBM"):
        Ranker.from_bytes(b"tree\n" + values + b"\nend of trees\n")


def test_truncated_model_is_rejected(ranker_model):
    end = ranker_model.index(b"\nend of trees\n")
    for length in range(0, end, end // 50):
        with pytest.raises(RankerError, match="bytes"):
            Ranker.from_bytes(ranker_model[:length])


def test_failed_load_does_not_affect_next(ranker_model):
    Ranker.from_bytes(ranker_model)

    assert importlib.import_module("pandas").__name__ == "pandas"
    assert importlib.import_module("sklearn").__name__ == "sklearn"


def test_predictions_equal_those_of_lightgbm(ranker_model):
    booster = load_booster(ranker_model, FEATURES)
    rows = np.random.default_rng(5).normal(size=(50, 2 * len(FEATURES)))
    rows[rows > 1] = np.nan

    for part in (rows[:, : len(FEATURES)], rows[:1, ::2], rows[:0, ::2]):
        expected = booster.predict(part) if len(part) else np.empty(0)
        np.testing.assert_array_equal(predict(booster, part), expected)


def test_rows_of_other_width_are_rejected(ranker_model):
    with pytest.raises(RankerError, match=rf"3 features .*expected the {len(FEATURES)} features"):
        predict(load_booster(ranker_model, FEATURES), np.zeros((2, 3)))


def test_model_of_several_outputs_is_rejected():
    random = np.random.default_rng(0)
    rows, classes = random.normal(size=(300, len(FEATURES))), random.integers(0, 3, 300)
    data = lightgbm.Dataset(rows, classes, feature_name=list(FEATURES))
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    model = lightgbm.train(settings, data, 1).model_to_string().encode()

    with pytest.raises(RankerError, match=r"3 outputs per row; expected one\. Train it"):
        load_booster(model, FEATURES)


@pytest.mark.parametrize("missing", ["_LIB", "_C_API_DTYPE_FLOAT64", "_C_API_PREDICT_NORMAL"])
def test_predictions_without_private_name_of_lightgbm_are_equal(ranker_model, monkeypatch, missing):
    booster = load_booster(ranker_model, FEATURES)
    rows = np.random.default_rng(5).normal(size=(50, len(FEATURES)))
    names = {name: value for name, value in vars(lightgbm.basic).items() if name != missing}
    monkeypatch.setitem(sys.modules, "lightgbm.basic", SimpleNamespace(**names))

    np.testing.assert_array_equal(predict(booster, rows), booster.predict(rows))


def test_predictions_without_handle_of_booster_are_equal(ranker_model):
    booster = load_booster(ranker_model, FEATURES)
    rows = np.random.default_rng(5).normal(size=(50, len(FEATURES)))

    result = predict(SimpleNamespace(predict=booster.predict), rows)

    np.testing.assert_array_equal(result, booster.predict(rows))
