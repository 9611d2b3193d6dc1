"""The head alone, on cached features of the frozen backbone: trained in seconds.

One that tells paths of categories apart is where fine-tuning starts from. One for the categories alone, the
linear layer that anyone would try first, is the named baseline that all else has to beat.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.parallel import limit_blas_threads
from fb_marketplace.errors import UserError
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths, category_paths
from fb_marketplace.pipelines.vision.data.task import label_indices, photos_with_labels
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    import torch


class FeatureSet(NamedTuple):
    """Photos as the head sees them.

    Attributes:
        features: float32, (photos, features).
        classes: int64, (photos,), places in ``labels``.
        split: (photos,), ``train``, ``validation`` or ``test``.
        groups: (photos,), the group that each belongs to.
        labels: the root categories, sorted.
        image_ids: (photos,), sorted.
        product_ids: (photos,), whose photo each is.
        paths: which each is of; None: the categories alone are told apart.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    split: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: tuple[str, ...]
    image_ids: NDArray[np.str_]
    product_ids: NDArray[np.str_]
    paths: CategoryPaths | None = None


class LinearHead(NamedTuple):
    """A trained head: its weights by name, and what its classes stand for."""

    weights: "dict[str, torch.Tensor]"
    labels: tuple[str, ...]


def make_feature_set(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters | None = None,
) -> FeatureSet:
    """Join features, categories and splits, sorted by photo; and paths, by parameters that say which."""
    labels = tuple(sorted(set(products["category"])))
    photos = photos_with_labels(vision_features, products, splits)
    return FeatureSet(
        vision_features.vectors(photos["row"].to_list(), "features"),
        label_indices(photos["category"], list(labels)),
        photos["split"].to_numpy(dtype=np.str_),
        photos["group"].to_numpy(dtype=np.str_),
        labels,
        photos["image_id"].to_numpy(dtype=np.str_),
        photos["product_id"].to_numpy(dtype=np.str_),
        category_paths(photos, labels, parameters) if parameters else None,
    )


def class_weights(classes: NDArray[np.int64], labels: int, balance: float) -> NDArray[np.float32]:
    """Give what each class counts in the loss: (mean count / its count) to the power ``balance``.

    The weights' mean over the examples is one; a class without examples has weight one.
    """
    counts = np.bincount(classes, minlength=labels).astype(np.float64)
    there = counts > 0
    weights = np.ones(labels)
    weights[there] = (counts[there].mean() / counts[there]) ** balance
    weights[there] /= (weights * counts).sum() / counts.sum()
    return weights.astype(np.float32)


def make_loss(
    weights: "torch.Tensor", has_paths: bool, parameters: VisionParameters
) -> "Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]":
    """Make the loss of a batch: cross-entropy of the classes, and by some weight of their paths.

    Args:
        weights: float32, (classes,), what each counts.
        has_paths: whether the classes have paths.
        parameters: smoothing, and what paths count.

    Returns:
        What takes logits of classes and of paths, (n, classes) and (n, paths), and the numbers of both
        that are true, (n,) each.
    """
    import torch

    of_class = torch.nn.CrossEntropyLoss(weights, label_smoothing=parameters.label_smoothing)
    of_path = torch.nn.CrossEntropyLoss(label_smoothing=parameters.label_smoothing)

    def loss_of(
        answers: torch.Tensor, told_apart: torch.Tensor, classes: torch.Tensor, paths: torch.Tensor
    ) -> torch.Tensor:
        loss: torch.Tensor = of_class(answers, classes)
        if has_paths:
            loss = loss + parameters.path_weight * of_path(told_apart, paths)
        return loss

    return loss_of


def train_head(
    found: FeatureSet, parameters: VisionParameters, hidden: int | None = None
) -> tuple[LinearHead, list[dict[str, float]]]:
    """Train a head by AdamW with a one-cycle rate; keep the epoch that is best on validation.

    A training of the network is told apart by the head that it begins with: so the head has the same
    bytes whatever the number of cores.

    Args:
        found: photos with their classes and splits, and with their paths where these are to be told
            apart; ``test`` is not looked at.
        parameters: the head, epochs, rate, smoothing and seed.
        hidden: width of a hidden layer; without it, as the backbone has it.

    Returns:
        The head, and for each epoch the loss in training and the loss and accuracy on validation.

    Raises:
        UserError: there is nothing to train on, or nothing to choose by.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.network import make_head, network_weights

    told = parameters.head
    features, classes = torch.from_numpy(found.features), torch.from_numpy(found.classes)
    training, validation = (
        torch.from_numpy(np.flatnonzero(found.split == split)) for split in ("train", "validation")
    )
    if not len(training) or not len(validation):
        raise UserError(
            f"a head needs photos to train on and photos to choose by; found {len(training)} and "
            f"{len(validation)}. Give more listings, or other shares under `splits:`"
        )
    weights = class_weights(
        found.classes[training.numpy()], len(found.labels), parameters.class_balance
    )
    loss_of = make_loss(torch.from_numpy(weights), found.paths is not None, parameters)
    paths = torch.from_numpy(found.paths.of if found.paths else found.classes)
    torch.manual_seed(parameters.seed)
    counts = found.paths.counts if found.paths else ()
    head = make_head(parameters, len(found.labels), counts, hidden)
    optimiser = torch.optim.AdamW(
        head.parameters(), told.learning_rate, weight_decay=told.weight_decay
    )
    steps = told.epochs * -(-len(training) // told.batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, told.learning_rate, total_steps=steps)
    history: list[dict[str, float]] = []
    best, kept = -1.0, network_weights(head)
    with limit_blas_threads(), Progress("epochs of the head", told.epochs) as progress:
        for epoch in range(1, told.epochs + 1):
            losses = []
            head.train()
            for batch in torch.split(training[torch.randperm(len(training))], told.batch_size):
                told_apart = head.tell_apart(head.embed(features[batch]))
                answers = head.of_classes(told_apart)
                loss = loss_of(answers, told_apart, classes[batch], paths[batch])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                rate.step()
                losses.append(loss.item() * len(batch))
            head.eval()
            with torch.no_grad():
                answers = head(features[validation])
                right = float((answers.argmax(1) == classes[validation]).float().mean())
                validation_loss = torch.nn.functional.cross_entropy(answers, classes[validation])
            history.append(
                {
                    "epoch": epoch,
                    "training_loss": sum(losses) / len(training),
                    "validation_loss": float(validation_loss),
                    "validation_accuracy": right,
                }
            )
            if right > best:
                best, kept = right, network_weights(head)
            progress.advance(1)
    return LinearHead(kept, found.labels), history


def predict(
    head: LinearHead, features: NDArray[np.float32], parameters: VisionParameters
) -> NDArray[np.float32]:
    """Give the logits of each photo: float32, (photos, classes)."""
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
    found: FeatureSet, logits: NDArray[np.float32], asked: NDArray[np.bool_]
) -> pd.DataFrame:
    """Write logits of some photos as softmax probabilities, beside what is true.

    Args:
        found: all photos.
        logits: float32, (photos asked about, classes).
        asked: bool, (photos,), which of them were asked about.
    """
    from scipy.special import softmax

    return pd.DataFrame(
        {
            "image_id": found.image_ids[asked],
            "product_id": found.product_ids[asked],
            "group": found.groups[asked],
            "split": found.split[asked],
            "category": np.asarray(found.labels)[found.classes[asked]],
            "probabilities": list(softmax(logits.astype(np.float64), axis=1).astype(np.float32)),
        }
    )
