import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fb_marketplace.parameters.vision import DriftParameters, EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.drift import (
    drift_reasons,
    population_stability_index,
    report_drift,
)
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS
from fb_marketplace.storage import keyed_table, table_writer

LABELS = ["Home", "Sport"]
SPLITS = ["train", "train", "validation", "test"]


@pytest.fixture
def report(base_parameters, tmp_path):
    """Report on a market of eight known listings, and of new ones given by category, split and group."""
    parameters = EvaluationParameters.model_validate(base_parameters["vision_evaluation"])

    def report(new=(), gone=()):
        known = [
            (f"p{n}", LABELS[n % 2], SPLITS[n // 2], f"p{n}")
            for n in range(8)
            if f"p{n}" not in gone
        ]
        listings = pd.DataFrame(
            [*known, *((f"n{n}", *row) for n, row in enumerate(new))],
            columns=["product_id", "category", "split", "group"],
        )
        training = pd.DataFrame(
            [(f"p{n}", LABELS[n % 2], SPLITS[n // 2], "rule") for n in range(8)],
            columns=["product_id", "category", "split", "rule"],
        )
        images = listings["product_id"] + " photo"
        url = str(tmp_path / "embeddings.lance")
        keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
        rows = [
            {
                "key": image,
                "image_id": image,
                "image_sha256": "",
                "encoder_sha256": "",
                "probabilities": [1.0, 0.0],
                "embedding": [1.0, number / 10],
            }
            for number, image in enumerate(images)
        ]
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS))
        evaluated = listings[listings["split"] != "train"]
        predictions = evaluated.assign(
            image_id=images, probabilities=[np.array([1.0, 0.0])] * len(evaluated)
        )
        return report_drift(
            training,
            listings[["product_id", "category"]],
            listings.assign(image_id=images),
            keyed_table.open_table(url),
            predictions,
            LABELS,
            parameters,
        )

    return report


def test_unchanged_market_has_no_drift(report):
    result = report()

    assert (result["new_share"], result["gone_share"]) == (0, 0)
    assert (result["label_mix"]["psi"], result["embeddings"]["psi"]) == (0, 0)
    assert result["embeddings"]["mean_cosine"] == 1
    assert result["accuracy"]["new"] is None
    assert result["accuracy"]["known"]["cases"] == 2
    assert (result["retraining_due"], result["reasons"]) == (False, [])


def test_removed_training_listing_is_counted(report):
    result = report(gone={"p0"})

    assert result["listings"]["trained_on"] == 4
    assert (result["listings"]["gone"], result["listings"]["trained_on_and_gone"]) == (1, 1)
    assert result["gone_share"] == 0.125


def test_new_listings_have_their_own_accuracy(report):
    result = report(
        [("Home", "test", "n0"), ("Sport", "validation", "n1"), ("Home", "train", "n2")]
    )

    assert result["listings"]["new"] == 3
    assert result["new_share"] == 0.375
    assert (result["accuracy"]["new"]["cases"], result["accuracy"]["new"]["value"]) == (2, 0.5)
    assert "37.5% of the listings changed" in result["reasons"]


def test_new_listing_in_a_trained_group_is_not_evaluated(report):
    result = report([("Home", "train", "p0")])

    assert result["listings"]["not_evaluated"] == 1
    assert result["accuracy"]["new"] is None


def test_other_categories_make_a_retraining_due(report):
    result = report([("Sport", "train", f"n{n}") for n in range(60)])

    assert result["label_mix"]["psi"] > 0.2
    assert result["label_mix"]["today"] == {"Home": 4, "Sport": 64}
    assert result["retraining_due"]


@pytest.mark.parametrize(
    ("new", "is_due"),
    [
        ({"value": 0.5, "high": 0.55}, True),
        ({"value": 0.5, "high": 0.65}, False),
        ({"value": 0.57, "high": 0.59}, False),
        (None, False),
    ],
)
def test_lower_accuracy_counts_outside_its_interval(new, is_due):
    report = {
        "new_share": 0.0,
        "gone_share": 0.0,
        "label_mix": {"psi": 0.0},
        "embeddings": {"psi": 0.0},
        "accuracy": {"known": {"value": 0.6}, "new": new},
    }

    assert bool(drift_reasons(report, DriftParameters())) is is_due


def test_index_is_symmetric_and_accepts_empty_bins():
    one, other = np.array([10, 0, 90]), np.array([90, 10, 0])

    assert population_stability_index(one, one) == 0
    assert population_stability_index(one, other) == population_stability_index(other, one) > 1
