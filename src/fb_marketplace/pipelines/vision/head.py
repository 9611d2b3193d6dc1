"""A linear head on cached features: trained in seconds, the best epoch chosen on validation."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.charts import figure, png
from fb_marketplace.errors import UserError
from fb_marketplace.parameters import VisionParameters
from fb_marketplace.progress import Progress
from fb_marketplace.tables import Table


class Examples(NamedTuple):
    """Photos as the head sees them.

    Attributes:
        features: float32, (photos, features).
        classes: int64, (photos,), places in ``labels``.
        split: (photos,), ``train``, ``validation`` or ``test``.
        groups: (photos,), the group that each belongs to.
        labels: the root categories, sorted.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    split: NDArray[np.str_]
    groups: NDArray[np.str_]
    labels: tuple[str, ...]


class Head(NamedTuple):
    """A trained head: float32 (classes, features) and (classes,), and what its rows stand for."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    labels: tuple[str, ...]


def examples(vision_features: Table, products: pd.DataFrame, splits: pd.DataFrame) -> Examples:
    """Join features, categories and splits, sorted by photo."""
    labels = tuple(sorted(set(products["category"])))
    order = vision_features.order("image_id").tolist()
    photos = (
        vision_features.take(order, ["image_id"])
        .to_pandas()
        .assign(row=order)
        .merge(splits.dropna(subset="image_id"), on="image_id", validate="1:1")
        .merge(products[["product_id", "category"]], on="product_id", validate="m:1")
    )
    return Examples(
        vision_features.vectors(photos["row"].to_list(), "features"),
        np.asarray([labels.index(category) for category in photos["category"]], dtype=np.int64),
        photos["split"].to_numpy(dtype=np.str_),
        photos["group"].to_numpy(dtype=np.str_),
        labels,
    )


def train_head(
    found: Examples, parameters: VisionParameters
) -> tuple[Head, list[dict[str, float]]]:
    """Train a head by AdamW with a one-cycle rate; keep the epoch that is best on validation.

    Args:
        found: photos with their classes and splits; ``test`` is not looked at.
        parameters: epochs, rate, smoothing and seed.

    Returns:
        The head, and for each epoch the loss in training and the loss and accuracy on validation.

    Raises:
        UserError: there is nothing to train on, or nothing to choose by.
    """
    import torch

    torch.manual_seed(parameters.seed)
    features, classes = torch.from_numpy(found.features), torch.from_numpy(found.classes)
    training, validation = (
        torch.from_numpy(np.flatnonzero(found.split == split)) for split in ("train", "validation")
    )
    if not len(training) or not len(validation):
        raise UserError(
            f"a head needs photos to train on and photos to choose by; found {len(training)} and "
            f"{len(validation)}. Give more listings, or other shares under `splits:`"
        )
    layer = torch.nn.Linear(features.shape[1], len(found.labels))
    optimiser = torch.optim.AdamW(
        layer.parameters(), parameters.learning_rate, weight_decay=parameters.weight_decay
    )
    steps = parameters.epochs * -(-len(training) // parameters.batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, parameters.learning_rate, total_steps=steps
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=parameters.label_smoothing)
    history: list[dict[str, float]] = []
    best, head = -1.0, Head(np.empty(0, np.float32), np.empty(0, np.float32), found.labels)
    with Progress("epochs of the head", parameters.epochs) as progress:
        for epoch in range(1, parameters.epochs + 1):
            losses = []
            for batch in torch.split(
                training[torch.randperm(len(training))], parameters.batch_size
            ):
                loss = loss_of(layer(features[batch]), classes[batch])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rate.step()
                losses.append(loss.item() * len(batch))
            with torch.no_grad():
                answers = layer(features[validation])
                right = (answers.argmax(1) == classes[validation]).float().mean()
                validation_loss = torch.nn.functional.cross_entropy(answers, classes[validation])
            history.append(
                {
                    "epoch": epoch,
                    "training_loss": sum(losses) / len(training),
                    "validation_loss": float(validation_loss),
                    "validation_accuracy": float(right),
                }
            )
            if float(right) > best:
                weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
                best, head = float(right), Head(weight.copy(), bias.copy(), found.labels)
            progress.advance(1)
    return head, history


def predict(head: Head, features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Give the likeliest class of each photo: int64, (photos,)."""
    return np.asarray((features @ head.weight.T + head.bias).argmax(axis=1), dtype=np.int64)


def draw_learning_curves(training_history: list[dict[str, Any]]) -> bytes:
    """Draw loss and accuracy by epoch; a PNG."""
    epochs = [epoch["epoch"] for epoch in training_history]
    made, axes = figure()
    for name in ("training_loss", "validation_loss"):
        axes.plot(epochs, [epoch[name] for epoch in training_history], label=name.replace("_", " "))
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy")
    accuracy = axes.twinx()
    right = [epoch["validation_accuracy"] for epoch in training_history]
    accuracy.plot(epochs, right, color="black", linestyle="--", label="validation accuracy")
    accuracy.set_ylabel("share of photos right")
    accuracy.set_ylim(0, 1)
    best = int(np.argmax(right))
    axes.set_title(f"Best on validation at epoch {epochs[best]}: {right[best]:.3f} of photos right")
    made.legend(loc="outside lower center", ncols=3)
    return png(made)
