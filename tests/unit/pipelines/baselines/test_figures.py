import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.baselines.figures import (
    compare_baselines,
    plot_comparison,
    plot_prices,
)

ESTIMATE = {"value": 0.5, "low": 0.4, "high": 0.45, "cases": 9, "groups": 8}


def metrics(metric, models):
    return {
        "chosen": models[-1],
        "models": {
            model: {split: {metric: ESTIMATE} for split in ("validation", "test")}
            for model in models
        },
    }


@pytest.fixture
def table():
    return compare_baselines(
        metrics("log_r2", ["median", "ridge"]), metrics("top1", ["most_frequent", "text"])
    )


def test_each_estimate_is_a_row_with_chosen_marked(table):
    assert len(table) == 8
    assert set(table.loc[table["chosen"], "model"]) == {"ridge", "text"}
    assert set(table.columns) >= {"task", "model", "split", "metric", *ESTIMATE}


def test_figure_is_deterministic(table):
    drawn = plot_comparison(table)

    assert drawn.startswith(b"\x89PNG")
    assert drawn == plot_comparison(table)
    assert drawn != plot_comparison(table.assign(value=0.42))


def test_figure_of_saved_table_is_the_same(table, tmp_path):
    table.to_csv(tmp_path / "table.csv", index=False)

    assert plot_comparison(pd.read_csv(tmp_path / "table.csv")) == plot_comparison(table)


def test_price_figure_has_intervals():
    prices = np.geomspace(1, 1000, 20)
    answers = pd.DataFrame({"model": "ridge", "split": "test", "price": prices})
    answers = answers.assign(predicted=prices[::-1], low=prices / 3, high=prices * 3)
    choices = {"model": "ridge", "interval": {"nominal": 0.9}}
    wider = answers.assign(high=prices * 5)

    assert plot_prices(answers, choices).startswith(b"\x89PNG")
    assert plot_prices(answers, choices) != plot_prices(wider, choices)
