import pytest

from fb_marketplace.evaluation.summary import TrainedModel, format_summary
from fb_marketplace_serving.release.manifest import Manifest


@pytest.fixture
def values():
    """Summary lines of a small lake."""
    estimate = {"value": 0.75, "low": 0.7, "high": 0.8, "cases": 1200}
    manifest = Manifest.model_construct(
        version="2026-01-01",
        lacks={"ranker": "too few listings"},
        metrics={
            "vision": {
                "validation": {
                    "photos_top1": estimate | {"cases": 900},
                    "photos_top1_frozen": {"value": 0.5},
                },
                "test": {
                    "photos_top1": estimate,
                    "photos_top1_frozen": {"value": 0.375},
                    "photos_top1_most_frequent_category": {"value": 0.25},
                    "products_with_text_top1": estimate | {"value": 0.875},
                    "products_text_top1": {"value": 0.625},
                },
            },
            "retrieval": {
                "all_photos": {"same_product_recall_at_10": estimate | {"random_baseline": 0.0125}}
            },
            "ranking": {
                "searches": {
                    "all": {
                        "ndcg_at_10": {"methods": {"ranker": estimate, "fusion": {"value": 0.5}}}
                    }
                },
                "relevance": {
                    "precision": estimate | {"random_baseline": 0.01},
                    "precision_at_10": {"price_asc": estimate | {"to_best_first": 0.98}},
                },
                "typos": {"recall_at_10": estimate, "uncorrected": {"value": 0.125}},
                "paraphrases": {"all": None},
            },
        },
    )
    report = {
        "ledger": {
            "products": {
                "in": 3000,
                "kept": 2990,
                "quarantined": 10,
                "reasons": {"missing_field": 7, "conflicting_row": 3},
            },
            "files": {"in": 5000, "kept": 5000, "quarantined": 0, "reasons": {}},
        },
        "duplicates": {"photos": 41, "groups": 17},
    }
    return format_summary(manifest, report, "s3://bucket/lake").splitlines()


def line(values, beginning):
    (result,) = (item for item in values if item.strip().startswith(beginning))
    return " ".join(result.split())


def test_summary_starts_with_release_and_lake(values):
    assert values[0] == "Release 2026-01-01 in s3://bucket/lake"


def test_summary_names_what_the_release_lacks(values):
    assert line(values, "ranker") == "ranker: too few listings"


def test_summary_accounts_for_each_source(values):
    assert line(values, "products") == (
        "products 3,000 in = 2,990 kept + 10 in quarantine (7 missing_field, 3 conflicting_row)"
    )
    assert line(values, "files") == "files 5,000 in = 5,000 kept + 0 in quarantine"
    assert line(values, "duplicates") == "duplicates 41 photos in 17 groups"


def test_metrics_have_their_random_baseline(values):
    measured = "0.750 [0.700, 0.800] of 1,200"

    assert line(values, "category of a photo").endswith("most common category: 0.250)")
    assert line(values, "other photo").endswith(f"{measured} (random: 0.0125)")


def test_photo_category_has_frozen_baseline(values):
    assert "0.750 [0.700, 0.800] of 1,200 (frozen features: 0.375," in line(
        values, "category of a photo"
    )
    assert line(values, "the same on the validation").endswith("of 900 (frozen features: 0.500)")


def test_fused_category_has_text_baseline(values):
    result = line(values, "category of a listing")

    assert "0.875 [0.700, 0.800] of 1,200" in result
    assert "(text only: 0.625)" in result


def test_ranker_has_fusion_baseline(values):
    result = line(values, "search, NDCG@10")

    assert result.endswith("0.750 [0.700, 0.800] of 1,200 (rank fusion: 0.500)")


def test_served_search_has_a_line_for_each_measured_metric(values):
    measured = "0.750 [0.700, 0.800] of 1,200"

    assert line(values, "search, mean precision").endswith(f"{measured} (random: 0.010)")
    assert line(values, "search, first ten by price").endswith("(0.98 of best first)")
    assert line(values, "search with a typo").endswith(f"{measured} (uncorrected: 0.125)")
    assert not any("paraphrased" in item for item in values)


def test_summary_has_the_clock_of_each_model_with_changed_data():
    manifest = Manifest.model_construct(version="2026-01-01", lacks={}, metrics={})
    report = {"ledger": {}, "duplicates": {"photos": 0, "groups": 0}}
    version = "2026-01-01T00.00.00.000Z"
    models = [
        TrainedModel("vision.train_network", version, 0.012),
        TrainedModel("ranking.train_ranker", version, 0.0),
    ]

    due, not_due = (
        format_summary(manifest, report, "lake", models, {"reasons": reasons}).splitlines()
        for reasons in (["20.0% of the listings changed"], [])
    )

    assert line(due, "on these listings").endswith("1 of 2 models")
    assert not any("train_ranker" in item for item in due)
    assert line(due, "train_network").startswith("train_network 2026-01-01, ")
    assert line(due, "train_network").endswith("1.2% of the data changed since")
    assert line(due, "retraining").endswith("due: 20.0% of the listings changed")
    assert line(not_due, "retraining").endswith("not due")
