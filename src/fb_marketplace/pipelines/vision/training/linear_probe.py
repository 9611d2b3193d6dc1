"""Linear probe: a head on cached features of the frozen backbone, trained in seconds.

A head with category paths is the starting point of fine-tuning. A linear layer without them is the baseline
that all other models are compared with.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.ml.probabilities import softmax
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths, category_paths
from fb_marketplace.pipelines.vision.data.task import label_indices, photos_with_labels
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    import torch


class FeatureSet(NamedTuple):
    """Features of photos with their labels and splits.

    Attributes:
        features: float32, (photos, features).
        classes: int64, (photos,), indices in ``labels``.
        split: (photos,), ``train``, ``validation`` or ``test``.
        groups: (photos,), the group of each photo.
        labels: the root categories, sorted.
        image_ids: (photos,), sorted.
        product_ids: (photos,), the listing of each photo.
        paths: path classes; None if only categories are learned.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    split: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: tuple[str, ...]
    image_ids: NDArray[np.str_]
    product_ids: NDArray[np.str_]
    paths: CategoryPaths | None = None


class HeadWeights(NamedTuple):
    """Weights of a trained head by name, and the labels of its classes."""

    weights: "dict[str, torch.Tensor]"
    labels: tuple[str, ...]


def make_feature_set(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters | None = None,
    columns: slice | None = None,
) -> FeatureSet:
    """Join features with categories and splits, sorted by image id.

    Args:
        vision_features: features of every photo.
        products: the listings, for their categories.
        splits: group and split of each photo.
        parameters: the recipe; without it, there are no category paths.
        columns: the features to read; None for all.
    """
    labels = tuple(sorted(set(products["category"])))
    photos = photos_with_labels(vision_features, products, splits)
    return FeatureSet(
        vision_features.vectors(photos["row"].to_list(), "features", columns),
        label_indices(photos["category"], list(labels)),
        photos["split"].to_numpy(dtype=np.str_),
        photos["group"].to_numpy(dtype=np.str_),
        labels,
        photos["image_id"].to_numpy(dtype=np.str_),
        photos["product_id"].to_numpy(dtype=np.str_),
        category_paths(photos, labels, parameters) if parameters else None,
    )


def class_weights(classes: NDArray[np.int64], labels: int, power: float) -> NDArray[np.float32]:
    """Compute the weight of each class in the loss: (mean count / count) to a power.

    The weights are scaled so that their mean over the examples is one. A class without examples has
    weight one.

    Args:
        classes: int64, (examples,), class indices.
        labels: number of classes.
        power: exponent; 0 gives equal weights.

    Returns:
        float32, (labels,).
    """
    counts = np.bincount(classes, minlength=labels).astype(np.float64)
    present = counts > 0
    weights = np.ones(labels)
    weights[present] = (counts[present].mean() / counts[present]) ** power
    weights[present] /= (weights * counts).sum() / counts.sum()
    return weights.astype(np.float32)


def make_loss(
    weights: "torch.Tensor", has_paths: bool, parameters: VisionParameters
) -> "Callable[..., torch.Tensor]":
    """Build the loss: cross-entropy of classes plus weighted cross-entropy of paths.

    Args:
        weights: float32, (classes,), weight of each class.
        has_paths: whether category paths are learned too.
        parameters: label smoothing, and the weight of the path loss.

    Returns:
        A function of class logits (n, classes), path logits (n, paths), true classes (n,), true paths
        (n,) and, optionally, a factor of the loss of classes.
    """
    import torch

    class_loss = torch.nn.CrossEntropyLoss(weights, label_smoothing=parameters.label_smoothing)
    path_loss = torch.nn.CrossEntropyLoss(label_smoothing=parameters.label_smoothing)

    def compute_loss(
        logits: torch.Tensor,
        path_logits: torch.Tensor,
        classes: torch.Tensor,
        paths: torch.Tensor,
        class_factor: torch.Tensor | None = None,
    ) -> torch.Tensor:
        loss: torch.Tensor = class_loss(logits, classes)
        if class_factor is not None:
            loss = class_factor * loss
        if has_paths:
            loss = loss + parameters.path_loss_weight * path_loss(path_logits, paths)
        return loss

    return compute_loss


def train_head(
    data: FeatureSet, parameters: VisionParameters, hidden: int | None = None
) -> tuple[HeadWeights, list[dict[str, float]]]:
    """Train a head by AdamW with a one-cycle learning rate; return the best epoch on validation.

    The weights do not depend on the number of cores. Otherwise fine-tuning, which is cached by their
    digest, would start again on another machine.

    Args:
        data: photos of all splits, with paths if paths are to be learned; ``test`` is not used.
        parameters: head, epochs, learning rate, label smoothing and seed.
        hidden: width of the hidden layer; None for the backbone's default.

    Returns:
        The head, and for each epoch the training loss, validation loss and validation accuracy.

    Raises:
        InsufficientDataError: there are no training or no validation photos.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.network import make_head, network_weights

    config = parameters.head
    features, classes = torch.from_numpy(data.features), torch.from_numpy(data.classes)
    training, validation = (
        torch.from_numpy(np.flatnonzero(data.split == split)) for split in ("train", "validation")
    )
    if not len(training) or not len(validation):
        raise InsufficientDataError(
            f"cannot train: found {len(training)} training and {len(validation)} validation photos; "
            "expected at least one of each. Provide more listings, or change the shares under `splits:` in "
            "parameters_cleaning.yml."
        )
    weights = class_weights(
        data.classes[training.numpy()], len(data.labels), parameters.class_weight_power
    )
    compute_loss = make_loss(torch.from_numpy(weights), data.paths is not None, parameters)
    paths = torch.from_numpy(data.paths.classes if data.paths else data.classes)
    torch.manual_seed(parameters.seed)
    counts = data.paths.counts if data.paths else ()
    head = make_head(parameters, len(data.labels), counts, hidden)
    optimizer = torch.optim.AdamW(
        head.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    steps = config.epochs * -(-len(training) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps
    )
    history: list[dict[str, float]] = []
    best_accuracy, best_weights = -1.0, network_weights(head)
    with limit_blas_threads(), Progress("epochs of the head", config.epochs) as progress:
        for epoch in range(1, config.epochs + 1):
            losses = []
            head.train()
            for batch in torch.split(training[torch.randperm(len(training))], config.batch_size):
                path_logits = head.path_logits(head.embed(features[batch]))
                logits = head.class_logits(path_logits)
                loss = compute_loss(logits, path_logits, classes[batch], paths[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                losses.append(loss.item() * len(batch))
            head.eval()
            with torch.no_grad():
                logits = head(features[validation])
                accuracy = float((logits.argmax(1) == classes[validation]).float().mean())
                validation_loss = torch.nn.functional.cross_entropy(logits, classes[validation])
            history.append(
                {
                    "epoch": epoch,
                    "training_loss": sum(losses) / len(training),
                    "validation_loss": float(validation_loss),
                    "validation_accuracy": accuracy,
                }
            )
            if accuracy > best_accuracy:
                best_accuracy, best_weights = accuracy, network_weights(head)
            progress.advance(1)
    return HeadWeights(best_weights, data.labels), history


def predict(
    head: HeadWeights, features: NDArray[np.float32], parameters: VisionParameters
) -> NDArray[np.float32]:
    """Compute the logits of photos: float32, (photos, classes)."""
    import torch

    from fb_marketplace.pipelines.vision.models.network import (
        hidden_width,
        make_head,
        path_counts_from_state,
    )

    counts, hidden = path_counts_from_state(head.weights), hidden_width(head.weights)
    layers = make_head(parameters, len(head.labels), counts, hidden)
    layers.load_state_dict(head.weights)
    with torch.no_grad():
        logits: NDArray[np.float32] = layers.eval()(torch.from_numpy(features)).numpy()
    return logits


def predictions_table(
    data: FeatureSet, logits: NDArray[np.float32], selected: NDArray[np.bool_]
) -> pd.DataFrame:
    """Build a table of predictions.

    Args:
        data: all photos.
        logits: float32, (selected photos, classes).
        selected: bool, (photos,), whether a photo has logits.

    Returns:
        ``image_id``, ``product_id``, ``group``, ``split``, ``category`` and ``probabilities``.
    """
    return pd.DataFrame(
        {
            "image_id": data.image_ids[selected],
            "product_id": data.product_ids[selected],
            "group": data.groups[selected],
            "split": data.split[selected],
            "category": np.asarray(data.labels)[data.classes[selected]],
            "probabilities": list(softmax(logits).astype(np.float32)),
        }
    )
