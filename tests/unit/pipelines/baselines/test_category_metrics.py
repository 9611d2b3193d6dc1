import numpy as np
import pandas as pd
import pytest

from fb_marketplace.pipelines.baselines.category_metrics import (
    evaluate_categories,
    plot_text_confusion,
)

LABELS = ["Arts", "Home", "Sport"]


@pytest.fixture
def answers():
    truth = ["Arts", "Home", "Home", "Sport"]
    rows = [
        {
            "product_id": f"{split}{place}",
            "group": f"{split}{place}",
            "split": split,
            "category": category,
            "model": model,
            "predicted": "Home" if model == "most_frequent" or place == 3 else category,
        }
        for model in ("most_frequent", "text")
        for split in ("test", "validation")
        for place, category in enumerate(truth)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def probabilities(answers):
    predicted = answers[answers["model"] == "text"]
    rows = [
        np.float32([0.8 if label == item else 0.1 for label in LABELS])
        for item in predicted["predicted"]
    ]
    return predicted[["product_id", "split"]].assign(probabilities=rows).iloc[::-1]


def test_each_model_has_trivial_baseline(answers, probabilities, parameters):
    choices = {"labels": LABELS, "settings": {"strength": 1.0}}

    result = evaluate_categories(answers, probabilities, choices, parameters)

    top1 = {model: item["test"]["top1"]["value"] for model, item in result["models"].items()}
    assert top1 == {"most_frequent": 0.5, "text": 0.75}
    assert (result["chosen"], result["trivial"]) == ("text", "most_frequent")


def test_text_model_has_calibration_metrics(answers, probabilities, parameters):
    choices = {"labels": LABELS, "settings": {}}

    result = evaluate_categories(answers, probabilities, choices, parameters)["models"]["text"][
        "test"
    ]

    assert result["overconfidence"]["value"] == pytest.approx(0.8 - 0.75, abs=1e-4)
    assert result["log_loss"]["value"] == pytest.approx(
        -(3 * np.log(0.8) + np.log(0.1)) / 4, abs=1e-4
    )


def test_confusion_figure_depends_on_the_matrix(answers):
    choices = {"labels": LABELS}

    drawn = plot_text_confusion(answers, choices)

    assert drawn.startswith(b"\x89PNG")
    assert drawn == plot_text_confusion(answers, choices)
    assert drawn != plot_text_confusion(answers.assign(predicted="Arts"), choices)
