"""The nodes of training: the head alone, then fine-tuning, and what is kept of both."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import pandas as pd

from fb_marketplace.observability.versions import code_revision
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import make_task
from fb_marketplace.pipelines.vision.models.backbones import origin_of_weights
from fb_marketplace.pipelines.vision.training.linear_probe import (
    LinearHead,
    make_feature_set,
    predict,
    predictions_table,
    train_head,
)
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical

REVISION: Final = 3
"""Goes up when the same task and recipe would give other weights."""

LIBRARIES: Final = ("torch", "torchvision", "timm", "pillow", "numpy")


class TrainedHead(NamedTuple):
    """A head, how its training went, and what the baseline says of validation and test photos."""

    head: bytes
    history: list[dict[str, float]]
    frozen_predictions: pd.DataFrame


class TrainedNetwork(NamedTuple):
    """What training gives.

    Attributes:
        checkpoints: by file name, what reads the weights of each epoch.
        model: the best weights, an epoch's or a blend, with labels, transform, revision and data in
            its metadata.
        final: the last epoch's.
        labels: what the classes stand for.
        history: each epoch's measures, and those of blends; ``stage`` is ``head``, ``fine_tuning`` or
            ``blend``.
    """

    checkpoints: dict[str, Callable[[], bytes]]
    model: bytes
    final: bytes
    labels: list[str]
    history: list[dict[str, Any]]


def train_linear_probe(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> TrainedHead:
    """Train two heads on frozen features: where fine-tuning starts, and the baseline, a linear layer."""
    from safetensors.torch import save

    found = make_feature_set(vision_features, products, splits, parameters)
    head, history = train_head(found, parameters)
    plain, _ = train_head(found._replace(paths=None), parameters, hidden=0)
    asked = found.split != "train"
    frozen = predictions_table(found, predict(plain, found.features[asked], parameters), asked)
    return TrainedHead(save(head.weights), history, frozen)


def train_network(
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_head: FileRef,
    head_history: list[dict[str, float]],
    vision_work: CheckpointDir,
    content_digests: dict[str, str],
    parameters: VisionParameters,
) -> TrainedNetwork:
    """Fine-tune the network, or take up a training that was stopped, and choose its best weights.

    Args:
        images: the canonical photos.
        products: the listings, for their categories.
        splits: where each photo belongs; ``test`` is not looked at.
        vision_head: the head that was trained on frozen features.
        head_history: how that went.
        vision_work: where trainings leave their epochs.
        content_digests: of the data that the model is made from.
        parameters: the recipe.
    """
    from safetensors.torch import load

    from fb_marketplace.pipelines.vision.training.fine_tuning import (
        fine_tune,
        interpolate_weights,
        read_weights,
        select_best,
    )
    from fb_marketplace.pipelines.vision.training.malloc import reuse_freed_memory

    labels = sorted(set(products["category"]))
    task = make_task(images, products, splits, parameters)
    weights = vision_head.read()
    work = vision_work.under(_fingerprint(sha256(weights), content_digests, parameters))
    with reuse_freed_memory():
        epochs = fine_tune(task, LinearHead(load(weights), tuple(labels)), work, parameters)
        mixed = interpolate_weights(task, epochs, work, len(labels), parameters)
    chosen, last = select_best([*epochs, *mixed]), epochs[-1]
    card = _card(labels, content_digests, parameters)
    return TrainedNetwork(
        {file: partial(work.read, file) for epoch in epochs for file in epoch.files},
        _with_card(read_weights(work, chosen), card | {"measures": chosen.measures}),
        _with_card(read_weights(work, last), card | {"measures": last.measures}),
        labels,
        [{"stage": "head", **each} for each in head_history]
        + [{"stage": "fine_tuning", **epoch.measures} for epoch in epochs]
        + [{"stage": "blend", **blend.measures} for blend in mixed],
    )


def _fingerprint(head: str, content_digests: dict[str, str], parameters: VisionParameters) -> str:
    """Name a training by all that the weights of its epochs depend on, and by nothing else."""
    from fb_marketplace.pipelines.vision.training.device import best_device, computes_in_bf16

    device = best_device()
    told = parameters.model_dump(mode="json", exclude={"embedding", "encoder"})
    told["weights"] = origin_of_weights(parameters)
    told["fine_tuning"] |= {
        "workers": None,
        "blends": None,
        "precision": computes_in_bf16(device, parameters.fine_tuning.precision),
        "device": device.type,
    }
    stage = stage_digest("fine_tuning", REVISION, None, LIBRARIES)
    data = {name: content_digests.get(name) for name in ("images", "products", "splits")}
    return make_key(stage, head, json.dumps([told, data], sort_keys=True))[:16]


def _card(labels: list[str], data: dict[str, str], parameters: VisionParameters) -> dict[str, Any]:
    return {
        "recipe": parameters.model_dump(mode="json", exclude={"embedding", "encoder"}),
        "labels": labels,
        "transform": {
            "photos_version": canonical.VERSION,
            "photo_side": canonical.SIDE,
            "input_side": parameters.input_side,
        },
        "data": data,
        "code_revision": code_revision(),
    }


def _with_card(weights: bytes, card: dict[str, Any]) -> bytes:
    """Write a card beside weights, under one key: several come out in an order that changes."""
    from safetensors.torch import load, save

    return save(load(weights), {"card": json.dumps(card, sort_keys=True)})
