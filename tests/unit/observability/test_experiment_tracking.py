"""Parameters and metrics in the form that MLflow stores."""

import math

from fb_marketplace.observability.experiment_tracking import (
    epoch_metrics,
    estimates,
    flatten_parameters,
)


def test_nested_parameters_are_flattened():
    parameters = {
        "ranker": {"rounds": 40, "seeds": [1, 2], "weights": None, "grid": {}},
        "backbone": "cnn",
    }

    assert flatten_parameters(parameters) == {
        "ranker.rounds": "40",
        "ranker.seeds": "[1, 2]",
        "ranker.weights": "null",
        "ranker.grid": "{}",
        "backbone": "cnn",
    }


def test_credentials_in_parameters_are_redacted():
    assert flatten_parameters({"source": "s3://key:secret@bucket"}) == {"source": "s3://***@bucket"}


def test_estimates_have_names_that_mlflow_accepts():
    metrics = {"Music, Films & Games": {"value": 1, "low": 0.5, "high": math.nan, "cases": 3}}

    assert estimates({"listings": 7, "by_category": metrics}, "price_metrics") == {
        "price_metrics/by_category/Music_ Films _ Games": 1.0,
        "price_metrics/by_category/Music_ Films _ Games_low": 0.5,
    }


def test_estimates_without_numbers_are_left_out():
    content = {"methods": {"bm25": {"value": None, "low": None, "high": None}}, "best": "bm25"}

    assert estimates(content, "ranking_metrics") == {}


def test_epochs_become_steps():
    history = [
        {"stage": "fine_tuning", "epoch": 0.0, "validation_loss": 2.0},
        {"stage": "fine_tuning", "epoch": 1.0, "validation_loss": 1.5, "learning_rate": 0.1},
        {"stage": "interpolation", "share": 0.3, "validation_loss": 1.0},
    ]

    assert epoch_metrics(history) == [
        (0, {"training/fine_tuning/validation_loss": 2.0}),
        (
            1,
            {
                "training/fine_tuning/validation_loss": 1.5,
                "training/fine_tuning/learning_rate": 0.1,
            },
        ),
    ]
