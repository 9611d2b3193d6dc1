"""Users who examine position p with probability 1 / p, and click the listing that they searched for."""

import numpy as np
import pandas as pd
import pytest

from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.pipelines.ranking import lambdamart
from fb_marketplace.pipelines.ranking.click_log import evaluation_mask, join_clicks
from fb_marketplace.pipelines.ranking.served import clicks
from fb_marketplace.pipelines.ranking.served.clicks import evaluate_clicks
from fb_marketplace.pipelines.ranking.train_ranker import train_ranker

NO_CLICKS = join_clicks([], []).feedback
ATTRACTIVE, OTHER, PLACES = 0.9, 0.1, 5


@pytest.fixture(scope="module")
def quick(growing) -> RankerParameters:
    return growing.model_copy(update={"num_boost_round": 3, "position_bias_exponent": 1.0})


@pytest.fixture(scope="module")
def ranker(stored_market, weighing, quick) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lambdamart, "openmp_threads", lambda: 1)
        return train_ranker(stored_market, weighing, NO_CLICKS, quick).ranker


@pytest.fixture(scope="module")
def feedback(stored_market):
    """Searches for titles. Each shows the same listings for the same title, the one with the title last."""
    random = np.random.default_rng(0)
    splits = stored_market.splits
    names = sorted(set(splits.loc[splits["split"] != "test", "product_id"]))
    titles = stored_market.products.set_index("product_id")["title"]
    rows = []
    for number in range(6000):
        product = names[number % len(names)]
        others = [name for name in names if titles[name] != titles[product]]
        for place, name in enumerate([*others[: PLACES - 1], product], start=1):
            attractive = ATTRACTIVE if name == product else OTHER
            clicked = random.random() < 1 / place and random.random() < attractive
            rows.append((f"{number:032x}", f"{titles[product]} {product}", name, place, clicked))
    columns = ["search_id", "words", "product_id", "position", "clicked"]
    return pd.DataFrame(rows, columns=columns)


def test_estimates_of_logged_order_are_close_to_its_value(
    stored_market, weighing, quick, few, ranker, feedback, store_file
):
    stored = store_file("ranker", ranker)

    report = evaluate_clicks(stored_market, stored, feedback, weighing, quick, few)

    evaluated = feedback[evaluation_mask(feedback)]
    assert 200 < report["searches"] == evaluated["search_id"].nunique()
    assert report["clicks"] == evaluated["clicked"].sum()
    discounts = 1 / np.log2(np.arange(2, PLACES + 2))
    value = OTHER * discounts[:-1].sum() + ATTRACTIVE * discounts[-1]
    logged = {name: estimate["value"] for name, estimate in report["methods"]["logged"].items()}
    assert logged["ips"] == pytest.approx(value, abs=0.15)
    assert logged["doubly_robust"] == pytest.approx(value, abs=0.15)
    assert logged["naive"] < value - 0.3
    gain = report["methods"]["ranker"]["ips"]["value"] - logged["ips"]
    assert report["gains"]["logged"]["ips"]["value"] == pytest.approx(gain, abs=2e-4)


def test_later_pages_are_not_evaluated(
    stored_market, weighing, quick, few, ranker, feedback, store_file
):
    stored = store_file("ranker", ranker)
    searches = feedback.head(1500)
    later = searches.assign(
        search_id="f" + searches["search_id"].str[1:], position=searches["position"] + PLACES
    )

    first_pages, all_pages = (
        evaluate_clicks(stored_market, stored, table, weighing, quick, few)
        for table in (searches, pd.concat([searches, later]))
    )

    assert first_pages["clicks"] > 0
    assert all_pages == first_pages


def test_searches_are_sampled_to_maximum_of_rows(
    stored_market, weighing, quick, few, ranker, feedback, store_file, monkeypatch
):
    stored = store_file("ranker", ranker)
    monkeypatch.setattr(clicks, "MAX_ROWS", 600)

    report = evaluate_clicks(stored_market, stored, feedback, weighing, quick, few)

    assert 60 <= report["searches"] <= 600 / PLACES
    assert report["clicks"] > 0


def test_searches_without_clicks_have_no_estimates(
    stored_market, weighing, quick, few, ranker, feedback, store_file
):
    stored = store_file("ranker", ranker)

    for table in (NO_CLICKS, feedback.assign(clicked=False)):
        report = evaluate_clicks(stored_market, stored, table, weighing, quick, few)

        assert report == {"searches": report["searches"], "clicks": 0}


def test_single_text_is_divided_by_search(feedback):
    mask = evaluation_mask(feedback.assign(words="chair"))

    assert 0.05 < mask.mean() < 0.2
    assert (mask.groupby(feedback["search_id"]).mean().isin([0, 1])).all()


def test_texts_are_not_divided(feedback):
    mask = evaluation_mask(feedback)

    assert 0 < mask.mean() < 0.5
    assert (mask.groupby(feedback["words"]).mean().isin([0, 1])).all()
