import numpy as np
import pandas as pd
import pytest
from support.builders import tiny_text_encoder as tiny

from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.zero_shot import PROMPTS, evaluate_zero_shot
from fb_marketplace_serving.encoders.text import TextTower

LABELS = ["bike", "chair", "lamp"]


@pytest.fixture
def evaluate(store_features, store_file, base_parameters):
    """Evaluates photos whose vectors are those of a category's name."""

    def evaluate(shown, category, trained, split):
        graph, padded = tiny.tower(size=6), tiny.tokenizer(padded_to=8)
        tower = TextTower.from_bytes(graph, padded)
        ids = [f"photo {number}" for number in range(len(shown))]
        vectors = [tower.encode(PROMPTS[1].format(word)) for word in shown]
        photos = dict(zip(ids, vectors, strict=True))
        predictions = pd.DataFrame(
            {
                "image_id": ids[::-1],
                "group": ids[::-1],
                "split": split[::-1],
                "category": category[::-1],
                "probabilities": [np.eye(3)[LABELS.index(word)] for word in trained[::-1]],
            }
        )
        values = base_parameters["vision_evaluation"] | {"bootstrap_samples": 20}
        return evaluate_zero_shot(
            store_features(photos | {"another": vectors[0]}, "dual_image_embeddings"),
            store_file("tower", graph),
            store_file("padded", padded),
            predictions,
            LABELS,
            EvaluationParameters.model_validate(values),
        )

    return evaluate


def test_nearest_name_is_the_category(evaluate):
    shown = ["bike", "lamp", "chair", "bike"]
    category = ["bike", "lamp", "chair", "lamp"]

    metrics = evaluate(shown, category, ["bike", "bike", "bike", "lamp"], ["test"] * 4)

    assert metrics["validation"] == {}
    assert metrics["test"]["top1"]["cases"] == 4
    assert metrics["test"]["top1"]["value"] == 0.75
    assert metrics["test"]["gain_of_classifier"]["value"] == -0.25


def test_splits_are_evaluated_apart(evaluate):
    metrics = evaluate(["bike", "lamp"], ["bike", "chair"], LABELS[:2], ["validation", "test"])

    assert [metrics[split]["top1"]["value"] for split in ("validation", "test")] == [1, 0]
