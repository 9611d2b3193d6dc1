import numpy as np
import pytest
from support.builders.stored_market import open_stored

from fb_marketplace.pipelines.ranking import lambdamart
from fb_marketplace.pipelines.ranking.click_log import join_clicks
from fb_marketplace.pipelines.ranking.tuning import prepare_ranker_objective

NO_CLICKS = join_clicks([], []).feedback


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Two threads wait for each other by spinning: on a busy machine that takes a hundred times as long."""
    monkeypatch.setattr(lambdamart, "openmp_threads", lambda: 1)


@pytest.fixture(scope="module")
def quick(growing):
    return growing.model_copy(update={"num_boost_round": 3})


@pytest.fixture
def objective(stored_market, weighing, quick):
    return prepare_ranker_objective(stored_market, weighing, NO_CLICKS, quick)


def test_metric_has_value_for_each_query_with_relevant_candidate(objective, quick):
    cases = objective.evaluate(quick)

    assert cases.shape == objective.groups.shape
    assert np.isfinite(cases).all()
    assert 0.3 < cases.mean() <= 1
    np.testing.assert_array_equal(objective.evaluate(quick), cases)


def test_other_values_give_other_metric(objective, quick):
    weak = quick.model_copy(update={"num_leaves": 2, "num_boost_round": 1})

    assert objective.evaluate(weak).mean() != objective.evaluate(quick).mean()


def test_test_split_does_not_matter(
    objective, market_tables, weighing, quick, tmp_path, stored_market
):
    tested = market_tables.splits.loc[market_tables.splits["split"] == "test", "product_id"]
    is_test = market_tables.products["product_id"].isin(tested)
    other = market_tables.products.copy()
    other.loc[is_test, "title"] = "blue bike"

    changed = prepare_ranker_objective(
        open_stored(tmp_path, market_tables._replace(products=other)), weighing, NO_CLICKS, quick
    )

    assert is_test.any()
    assert changed.key == objective.key
