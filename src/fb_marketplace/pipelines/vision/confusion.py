"""What is taken for what, and how confidence fares: pictures of the test split."""

from typing import Any

import pandas as pd

from fb_marketplace.answers import answers_of, labels_of
from fb_marketplace.confusion import draw_confusion
from fb_marketplace.pipelines.vision.calibration import draw_reliability, reliability, uncalibrated
from fb_marketplace.vision_parameters import EvaluationParameters


def draw_photo_confusion(vision_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Draw what photos of the test split are taken for; a PNG."""
    labels = labels_of(products)
    found = answers_of(vision_predictions, "test", labels)
    title = f"Category by photo: {len(found.classes):,} photos of the test split"
    return draw_confusion(found.classes, found.said, labels, title)


def draw_product_confusion(product_predictions: pd.DataFrame, products: pd.DataFrame) -> bytes:
    """Draw what listings of the test split are taken for, by their photos and text; a PNG."""
    labels = labels_of(products)
    found = answers_of(product_predictions, "test", labels)
    title = f"Category by photos and text: {len(found.classes):,} listings of the test split"
    return draw_confusion(found.classes, found.said, labels, title)


def draw_reliability_diagram(
    vision_predictions: pd.DataFrame,
    products: pd.DataFrame,
    calibration: dict[str, Any],
    parameters: EvaluationParameters,
) -> bytes:
    """Draw how often photos of the test split are right, by confidence, before and after calibration."""
    found = answers_of(vision_predictions, "test", labels_of(products))
    before = found._replace(
        probabilities=uncalibrated(found.probabilities, calibration["temperature"])
    )
    return draw_reliability(
        *(
            reliability(each.confidences, each.right, parameters.calibration_bins)
            for each in (before, found)
        )
    )
