"""From photos and listings to a trained model, its measure, and the encoder that is served."""

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.bootstrap import mean_by_group
from fb_marketplace.parameters import VisionParameters
from fb_marketplace.pipelines.vision.head import Examples, Head, examples, predict, train_head
from fb_marketplace.stored_file import StoredFile
from fb_marketplace.tables import Table
from fb_marketplace_serving import photos


class Trained(NamedTuple):
    """A model as safetensors, what its classes are, how its training went, and how good it is."""

    model: bytes
    labels: list[str]
    history: list[dict[str, float]]
    metrics: dict[str, Any]


def train(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    content_digests: dict[str, str],
    parameters: VisionParameters,
) -> Trained:
    """Train a head on the frozen backbone's features, and measure what was chosen.

    Args:
        vision_features: features of every photo.
        products: the listings, for their root categories.
        splits: where each photo belongs.
        content_digests: of the data that the model is made from.
        parameters: the recipe.

    Returns:
        The model with labels, transform and data digests in its metadata; its labels; loss and accuracy by
        epoch; and accuracy on validation (where choices were made) and on test (once, for this
        model), beside always saying the commonest category.
    """
    found = examples(vision_features, products, splits)
    head, history = train_head(found, parameters)
    return Trained(
        _model(head, content_digests, parameters),
        list(head.labels),
        history,
        {split: _accuracy(found, head, split, parameters) for split in ("validation", "test")},
    )


def export_encoder(vision_model: StoredFile, parameters: VisionParameters) -> bytes:
    """Export backbone and trained head as the one encoder; gives ONNX."""
    from safetensors.numpy import load

    from fb_marketplace.pipelines.vision.network import assemble, export

    tensors = load(vision_model.read())
    return export(assemble(parameters, tensors["head.weight"], tensors["head.bias"]))


def _model(head: Head, data: dict[str, str], parameters: VisionParameters) -> bytes:
    from safetensors.numpy import save

    card = {
        "backbone": parameters.backbone,
        "weights": parameters.weights,
        "labels": head.labels,
        "transform": {
            "photos_version": photos.VERSION,
            "photo_side": photos.SIDE,
            "input_side": parameters.input_side,
        },
        "data": data,
    }
    # One entry: safetensors writes several in an order that changes from run to run.
    metadata = {"card": json.dumps(card, sort_keys=True)}
    return save({"head.weight": head.weight, "head.bias": head.bias}, metadata)


def _accuracy(
    found: Examples, head: Head, split: str, parameters: VisionParameters
) -> dict[str, Any]:
    part = found.split == split
    commonest = np.bincount(found.classes[found.split == "train"]).argmax()

    def estimate(answers: Any) -> dict[str, Any]:
        return mean_by_group(
            answers == found.classes[part],
            found.groups[part],
            parameters.bootstrap_samples,
            parameters.confidence,
            parameters.seed,
        ).plain()

    return {
        "photos_top1": estimate(predict(head, found.features[part])),
        "photos_top1_commonest_category": estimate(commonest),
    }
