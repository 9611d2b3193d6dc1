import numpy as np
import pandas as pd
import pytest
from support.builders.vision_predictions import LABELS, MEASURING, marketplace

from fb_marketplace.evaluation.console import format_estimate
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate_vision
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products
from fb_marketplace.pipelines.vision.evaluation.model_card import (
    markdown_table,
    write_model_card,
)

ESTIMATE = {"value": 0.5, "low": 0.25, "high": 0.75, "cases": 8, "groups": 4}


@pytest.fixture(scope="module")
def metrics():
    products, splits, photos, text = marketplace(60)
    fused = fuse_products(photos, text, products, splits)
    chosen = select_abstention(photos, fused.predictions, products, MEASURING)
    given = (photos, photos, fused.predictions, products, splits, {"temperature": 1.25})
    return evaluate_vision(*given, fused.choices, chosen, MEASURING).metrics


@pytest.fixture
def card(metrics, base_parameters):
    parameters = VisionParameters.model_validate(base_parameters["vision"])
    params = {
        "top1": ESTIMATE,
        "top1_most_frequent_category": ESTIMATE,
        "sibling_in_training": ESTIMATE | {"value": 0.42},
    }
    leakage = {
        "honest": params,
        "random": params | {"top1": ESTIMATE | {"value": 0.625}},
        "difference": ESTIMATE | {"value": 0.125},
        "photos": {"train": 1234, "validation": 20, "test": 20},
    }
    report = {
        "precision": "int8",
        "weights": [
            {
                "name": "timm/resnet18.a1_in1k",
                "source": "file weights.safetensors",
                "sha256": "cd" * 32,
                "license": "apache-2.0",
            }
        ],
        "fp32": {"bytes": 13},
        "int8": {"mean_cosine": np.float64(0.9971)},
    }
    digests = {"products": "ab" * 32, "images": "cd" * 32}
    listed = pd.DataFrame({"category": [*LABELS, "Rare things"]})
    given = (metrics, {"temperature": 1.25}, report, leakage, list(LABELS), listed, digests)
    return write_model_card(*given, parameters)


def test_pipe_in_table_cell_is_escaped():
    assert markdown_table(["a", "b"], [(1, "x | y")]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        r"| 1 | x \| y |",
    ]


@pytest.mark.parametrize(
    "stands",
    [
        "Arts, Home, Sport",
        "fewer than 10 listings are not classes: Rare things (1)",
        "`abababababab`",
        "1,234",
        "1.250",
        "It is served as\nint8",
        "timm/resnet18.a1_in1k, from file weights.safetensors (sha256 `cdcdcdcdcdcd`), licence apache-2.0",
        "`int8.mean_cosine` | 0.9971",
        "0.625 [0.250, 0.750]",
        "42%",
        "`label_smoothing`",
        "kedro run --pipeline=vision",
        "`runs/<version>.json`",
        "one case drawn from each group",
    ],
)
def test_card_has_measured_values(card, stands):
    assert stands in card


@pytest.mark.parametrize("owner", ["photos", "products", "products_text", "products_with_text"])
@pytest.mark.parametrize("name", ["top1", "top3", "macro_f1"])
def test_card_has_interval_and_count_of_each_metric(card, metrics, owner, name):
    estimate = metrics["test"][f"{owner}_{name}"]

    assert any(
        format_estimate(estimate) in line
        and f"| {estimate['cases']} | {estimate['groups']} |" in line
        for line in card.splitlines()
    )


def test_table_rows_have_equal_cell_counts(card):
    tables = [block.splitlines() for block in card.split("\n\n") if block.startswith("|")]

    assert len(tables) > 5
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
        assert len(lines) > 2
