"""Training nodes: the linear probe, then fine-tuning."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import pandas as pd

from fb_marketplace.compute.shards import current_engine
from fb_marketplace.observability.versions import code_revision
from fb_marketplace.parameters.vision import NOT_IN_TRAINING, VisionParameters
from fb_marketplace.pipelines.vision.data.task import (
    PLACEHOLDER_CLASSES,
    data_digests,
    make_task,
)
from fb_marketplace.pipelines.vision.models.backbones import get_backbone, origin_of_weights
from fb_marketplace.pipelines.vision.training.linear_probe import (
    HeadWeights,
    make_feature_set,
    predict,
    predictions_table,
    train_head,
)
from fb_marketplace.schemas.splits import EVALUATION_SPLITS, SPLITS
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION

REVISION: Final = 4
"""Increase it if the same task and recipe would give other weights."""

NO_PHOTOS: Final = "there are no photos"

LISTING_COLUMNS: Final = ("product_id", "category", "split", "rule")

LIBRARIES: Final = ("torch", "torchvision", "timm", "pillow", "numpy")


class TrainedHead(NamedTuple):
    """Outputs of the linear probe.

    Attributes:
        head: the head.
        history: metrics of all epochs.
        frozen_head: a linear layer on the frozen features, the baseline.
        labels: names of the classes.
    """

    head: bytes
    history: list[dict[str, float]]
    frozen_head: bytes
    labels: list[str]


class TrainedNetwork(NamedTuple):
    """Outputs of the training.

    Attributes:
        checkpoints: by file name, a function that reads the weights of an epoch.
        model: the best weights, of an epoch or an interpolation, with labels, preprocessing, revision
            and data in the metadata.
        final: weights of the last epoch.
        history: metrics of all epochs and interpolations; ``stage`` is ``head``, ``fine_tuning`` or
            ``interpolation``.
        listings: all labelled listings at the time, with their split and category.
    """

    checkpoints: dict[str, Callable[[], bytes]]
    model: bytes
    final: bytes
    history: list[dict[str, Any]]
    listings: pd.DataFrame


def train_linear_probe(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> TrainedHead:
    """Train two heads on frozen features: the start of fine-tuning, and the linear baseline.

    Args:
        vision_features: features of every photo.
        products: the listings whose category is a class.
        splits: split of each photo.
        parameters: the recipe.

    Raises:
        InsufficientDataError: a split has no photo of a class, or the training split has one class only.
    """
    from safetensors.torch import save

    data = make_feature_set(vision_features, products, splits, parameters)
    counts = {split: int((data.split == split).sum()) for split in SPLITS}
    trained = len(set(data.classes[data.split == "train"].tolist()))
    if not min(counts.values()) or trained < 2:
        raise InsufficientDataError(
            f"found {trained} categories in train, and photos by split {counts}; a photo classifier needs "
            "two categories, and photos in every split"
        )
    head, history = train_head(data, parameters)
    baseline, _ = train_head(data._replace(paths=None), parameters, hidden=0)
    return TrainedHead(save(head.weights), history, save(baseline.weights), list(data.labels))


def predict_from_frozen_features(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    frozen_head: FileRef,
    parameters: VisionParameters,
) -> pd.DataFrame:
    """Predict validation and test photos with the linear baseline."""
    from safetensors.torch import load

    evaluated = splits[splits["split"].isin(EVALUATION_SPLITS)]
    data = make_feature_set(vision_features, products, evaluated)
    head = HeadWeights(load(frozen_head.read()), data.labels)
    logits = predict(head, data.features, parameters)
    return predictions_table(data, logits, data.split != "train")


def train_network(
    images: Table,
    products: pd.DataFrame | Skipped,
    splits: pd.DataFrame,
    vision_head: FileRef | Skipped,
    head_history: list[dict[str, float]] | Skipped,
    vision_work: CheckpointDir,
    parameters: VisionParameters,
) -> TrainedNetwork:
    """Fine-tune the network, or resume an interrupted training, and select its best weights.

    Without classes, the network is the pretrained backbone.

    Args:
        images: the canonical photos.
        products: the listings whose category is a class.
        splits: split of each photo; ``test`` is not used.
        vision_head: the linear probe.
        head_history: its training history.
        vision_work: checkpoint directories of all trainings.
        parameters: the recipe.

    Raises:
        InsufficientDataError: there are no photos.
    """
    if not len(images):
        raise InsufficientDataError(NO_PHOTOS)
    if (
        isinstance(products, Skipped)
        or isinstance(vision_head, Skipped)
        or isinstance(head_history, Skipped)
    ):
        return _pretrained_network(parameters)
    from safetensors.torch import load

    from fb_marketplace.pipelines.vision.training.fine_tuning import fine_tune
    from fb_marketplace.pipelines.vision.training.malloc import reuse_freed_memory
    from fb_marketplace.pipelines.vision.training.weight_candidates import (
        interpolate_weights,
        read_weights,
        select_best,
    )

    labels = sorted(set(products["category"]))
    task = make_task(images, products, splits, parameters)
    head = vision_head.read()
    digests = data_digests(images, products, splits)
    work = vision_work.under(_fingerprint(sha256(head), digests, parameters))
    with reuse_freed_memory():
        epochs = fine_tune(task, HeadWeights(load(head), tuple(labels)), work, parameters)
        interpolations = interpolate_weights(task, epochs, work, len(labels), parameters)
    best, last = select_best([*epochs, *interpolations]), epochs[-1]
    card = _card(labels, digests, parameters)
    return TrainedNetwork(
        {file: partial(work.read, file) for epoch in epochs for file in epoch.files},
        _with_card(read_weights(work, best), card | {"metrics": best.metrics}),
        _with_card(read_weights(work, last), card | {"metrics": last.metrics}),
        [{"stage": "head", **epoch} for epoch in head_history]
        + [{"stage": "fine_tuning", **epoch.metrics} for epoch in epochs]
        + [{"stage": "interpolation", **candidate.metrics} for candidate in interpolations],
        _listings(products, splits),
    )


def _pretrained_network(parameters: VisionParameters) -> TrainedNetwork:
    from safetensors.torch import save

    from fb_marketplace.pipelines.vision.models.network import make_network, network_weights

    weights = save(network_weights(make_network(parameters, PLACEHOLDER_CLASSES)))
    model = _with_card(weights, {"recipe": parameters.model_dump(mode="json"), "labels": []})
    nothing = pd.DataFrame({name: [] for name in LISTING_COLUMNS}, dtype="str")
    return TrainedNetwork({}, model, model, [], nothing)


def _listings(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    listed = products[["product_id", "category"]].merge(
        splits.drop_duplicates("product_id"), on="product_id"
    )
    rows = listed[list(LISTING_COLUMNS)].astype("str")
    return rows.sort_values("product_id", ignore_index=True)


def _fingerprint(head: str, digests: dict[str, str], parameters: VisionParameters) -> str:
    """Return a key of everything that the weights of the epochs depend on, and of nothing else."""
    from fb_marketplace.pipelines.vision.training.device import best_device, computes_in_bf16

    device, engine = best_device(), current_engine()
    recipe = parameters.model_dump(mode="json", exclude=set(NOT_IN_TRAINING))
    recipe |= {
        "weights": origin_of_weights(parameters),
        "weights_sha256": None,
        "input_side": get_backbone(parameters).side,
    }
    recipe["fine_tuning"] |= {
        "workers": None,
        "wise_ft_alphas": None,
        "precision": computes_in_bf16(device, parameters.fine_tuning.precision),
        "device": device.type,
    }
    if engine and engine.train_workers:
        # The driver does not know which hardware the workers have.
        recipe["fine_tuning"] |= {
            "precision": parameters.fine_tuning.precision,
            "device": engine.train_device,
            "processes": engine.train_workers,
        }
    stage = stage_digest("fine_tuning", REVISION, None, LIBRARIES)
    return make_key(stage, head, json.dumps([recipe, digests], sort_keys=True))[:16]


def _card(labels: list[str], data: dict[str, str], parameters: VisionParameters) -> dict[str, Any]:
    return {
        "recipe": parameters.model_dump(mode="json", exclude=set(NOT_IN_TRAINING)),
        "labels": labels,
        "transform": {
            "photos_version": canonical.VERSION,
            "framing_version": FRAMING_VERSION,
            "photo_side": canonical.SIDE,
            "input_side": get_backbone(parameters).side,
        },
        "data": data,
        "code_revision": code_revision(),
    }


def _with_card(weights: bytes, card: dict[str, Any]) -> bytes:
    """Add a card to the metadata under one key: safetensors writes several keys in random order."""
    from safetensors.torch import load, save

    return save(load(weights), {"card": json.dumps(card, sort_keys=True)})
