import numpy as np
import pandas as pd
import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.indexing.summarize import METRICS, summarize_retrieval

R1 = "same_product_recall_at_1"


def queries(gallery, embedding, result, category="Home"):
    """Queries with these values by every measure, each in a group of its own."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "gallery": gallery,
                    "photos": len(result),
                    "embedding": embedding,
                    "measure": measure,
                    "image_id": [f"{category} {place}" for place in range(len(result))],
                    "group": [f"{category} {place}" for place in range(len(result))],
                    "category": category,
                    "value": np.asarray(result, dtype=float),
                    "random_baseline": 0.25,
                }
            )
            for measure in METRICS
        ],
        ignore_index=True,
    )


@pytest.fixture
def report(measuring):
    """Reports on queries of which the encoder finds three of four, and something else half."""

    def make(*more, served=None):
        alone = [
            queries(gallery, embedding, result)
            for gallery in ("test_photos", "validation_photos")
            for embedding, result in (("encoder", [1, 1, 1, 0]), ("pixels", [1, 0, 0, 1]))
        ]
        if served is None:
            galleries = ("all_photos", [1, 0]), ("sampled_photos", [1, 1])
            served = pd.concat([queries(name, "encoder", result) for name, result in galleries])
        return summarize_retrieval(served, pd.concat([*alone, *more]), measuring)

    return make


def test_encoder_metrics_have_baseline_and_counts(report):
    metrics = report().metrics

    result = {
        name: metrics[name][R1]["value"] for name in ("all_photos", "sampled_photos", "test_photos")
    }
    assert result == {"all_photos": 0.5, "sampled_photos": 1.0, "test_photos": 0.75}
    assert metrics["validation_photos"].keys() == set(METRICS)
    one = metrics["test_photos"][R1]
    assert (one["cases"], one["groups"], one["gallery"], one["random_baseline"]) == (4, 4, 4, 0.25)
    assert one["low"] <= one["value"] <= one["high"]


def test_gains_are_paired_by_query(report):
    metrics = report().metrics

    assert metrics["baselines"]["test_photos"]["pixels"][R1]["value"] == 0.5
    gain = metrics["gains"]["test_photos"]["pixels"][R1]
    assert (gain["value"], gain["cases"]) == (0.25, 4)


def test_constant_gain_has_zero_width(report):
    easy_and_hard = np.asarray([1, 1, 1, 0]) - 0.05
    more = [queries("test_photos", "another", easy_and_hard)]

    metrics = report(*more).metrics

    gain = metrics["gains"]["test_photos"]["another"][R1]
    assert (gain["low"], gain["value"], gain["high"]) == pytest.approx((0.05, 0.05, 0.05))
    assert metrics["baselines"]["test_photos"]["another"][R1]["high"] > 0.75


def test_extra_embedding_is_an_extra_baseline(report):
    more = [
        queries(gallery, "fc.1", [1, 1, 1, 1]) for gallery in ("test_photos", "validation_photos")
    ]

    metrics = report(*more).metrics

    assert metrics["baselines"]["test_photos"].keys() == {"pixels", "fc.1"}
    assert metrics["gains"]["validation_photos"]["fc.1"][R1]["value"] == -0.25


def test_embedding_without_listing_metrics_is_compared_by_rest(report):
    words = queries("test_photos", "words", [1, 1, 1, 1])
    words = words[words["measure"] == "ndcg_at_10"]

    metrics = report(words).metrics

    assert metrics["baselines"]["test_photos"]["words"].keys() == {"ndcg_at_10"}
    assert metrics["gains"]["test_photos"]["words"].keys() == {"ndcg_at_10"}


def test_each_test_category_has_a_row_with_counts(report):
    lone = queries("test_photos", "encoder", [0.5], category="Music")
    lone = lone[~lone["measure"].str.startswith("same_product")]

    table = report(lone).by_category.set_index("category")

    assert table.loc["Home", ["queries", "with_partner", R1]].to_list() == [4, 4, 0.75]
    assert table.loc["Music", ["queries", "with_partner", "ndcg_at_10"]].to_list() == [1, 0, 0.5]
    assert np.isnan(table.loc["Music", R1])
    assert table.loc["Home", f"{R1}_random_baseline"] == 0.25


def test_split_without_partners_is_rejected(report):
    served = queries("all_photos", "encoder", [1, 0])

    with pytest.raises(UserError, match="parameters_cleaning"):
        report(served=served[~served["measure"].str.startswith("same_product")])
