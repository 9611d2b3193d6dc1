"""Zero-shot categories: the category whose name is nearest to a photo, by the dual encoder."""

from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.predictions import predictions_for_split
from fb_marketplace.parameters.vision import EvaluationParameters
from fb_marketplace.pipelines.vision.evaluation.metrics import accuracy_gain, top1_accuracy
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import read_vectors
from fb_marketplace_serving.encoders.text import TextTower

PROMPTS: Final = ("{}", "a photo of {}", "a photo of {} for sale")
"""A category's vector is the mean over these texts."""


def evaluate_zero_shot(
    dual_image_embeddings: Table,
    dual_text_encoder_fp32: FileRef,
    dual_tokenizer: FileRef,
    vision_predictions: pd.DataFrame,
    vision_labels: list[str],
    parameters: EvaluationParameters,
) -> dict[str, Any]:
    """Predict the category of photos without training, and compare with the trained classifier.

    Args:
        dual_image_embeddings: vectors of photos.
        dual_text_encoder_fp32: the text tower.
        dual_tokenizer: its tokenizer.
        vision_predictions: predictions of the trained classifier by photo.
        vision_labels: the classes.
        parameters: bootstrap settings.

    Returns:
        For validation and test: ``top1``, the accuracy, and ``gain_of_classifier``, the paired difference
        of the trained classifier; empty for a split without photos.
    """
    tower = TextTower.from_bytes(dual_text_encoder_fp32.read(), dual_tokenizer.read())
    names = np.stack(
        [
            np.mean([tower.encode(prompt.format(label)) for prompt in PROMPTS], axis=0)
            for label in vision_labels
        ]
    )
    images = vision_predictions["image_id"].to_list()
    photos = read_vectors(dual_image_embeddings, "image_id", "features", set(images))
    # A cosine is no probability, but only the highest counts.
    similarity = photos.select(images) @ (names / np.linalg.norm(names, axis=1, keepdims=True)).T
    compared = vision_predictions.assign(similarity=list(similarity))
    metrics: dict[str, Any] = {}
    for split in EVALUATION_SPLITS:
        zero_shot, trained = (
            predictions_for_split(compared, split, tuple(vision_labels), column)
            for column in ("similarity", "probabilities")
        )
        metrics[split] = {}
        if len(zero_shot.targets):
            metrics[split] = {
                "top1": top1_accuracy(zero_shot, parameters),
                "gain_of_classifier": accuracy_gain(trained, zero_shot, parameters),
            }
    return metrics
