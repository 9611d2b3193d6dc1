"""Synthetic calibrated predictions for tests of evaluation."""

import numpy as np
import pandas as pd

from fb_marketplace.parameters.vision import AbstentionErrors, EvaluationParameters

LABELS = ("Arts", "Home", "Sport")

MEASURING = EvaluationParameters(
    calibration_bins=15,
    max_error_when_answering=AbstentionErrors(photos=0.05, products_with_text=0.05),
    num_worst_errors=4,
    bootstrap_samples=50,
    confidence=0.95,
    seed=0,
)


def probabilities(classes, generator, sharpness=3.0, labels=3):
    """Probabilities that are calibrated: classes seen through noise, by Bayes' rule."""
    logits = generator.normal(size=(len(classes), labels))
    logits[np.arange(len(classes)), classes] += np.sqrt(sharpness)
    # Of unit noise about a shift d, the log likelihood ratio is d times what is seen.
    powers = np.exp(np.sqrt(sharpness) * logits)
    return powers / powers.sum(axis=1, keepdims=True)


def marketplace(listings=240, photos=2, seed=0):
    """Products, splits, photo predictions and text probabilities; every tenth has no photo."""
    generator = np.random.default_rng(seed)
    ids = [f"p{place:04}" for place in range(listings)]
    classes = generator.integers(0, len(LABELS), listings)
    where = np.array(["train", "validation", "test"])[np.arange(listings) % 3]
    products = pd.DataFrame({"product_id": ids, "category": np.array(LABELS)[classes]})
    rows = []
    for place, product_id in enumerate(ids):
        images = [] if place % 10 == 9 else [f"{product_id}-{photo}" for photo in range(photos)]
        rows += [(image, product_id, product_id, where[place]) for image in images or [None]]
    splits = pd.DataFrame(rows, columns=["image_id", "product_id", "group", "split"])
    text = pd.DataFrame(
        {
            "product_id": ids,
            "split": where,
            "probabilities": list(probabilities(classes, generator).astype(np.float32)),
        }
    )
    text = text[text["split"] != "train"].reset_index(drop=True)
    return products, splits, predictions(products, splits, generator), text


def predictions(products, splits, generator, sharpness=3.0):
    """Predictions of the validation and test photos."""
    params = splits.dropna(subset="image_id").query("split != 'train'")
    table = params.merge(products, on="product_id").reset_index(drop=True)
    classes = np.array([LABELS.index(item) for item in table["category"]])
    predicted = probabilities(classes, generator, sharpness).astype(np.float32)
    return table.assign(probabilities=list(predicted))
