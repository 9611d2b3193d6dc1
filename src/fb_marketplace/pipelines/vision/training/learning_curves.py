"""Learning curves as figures and TensorBoard events."""

from typing import Any

import numpy as np

from fb_marketplace.evaluation.plots import to_png
from fb_marketplace.pipelines.vision.training.tensorboard import encode_events
from fb_marketplace.skipping import InsufficientDataError


def plot_learning_curves(training_history: list[dict[str, Any]]) -> bytes:
    """Plot loss and accuracy by epoch, of the linear probe and of fine-tuning; returns a PNG.

    Crosses are interpolations of the first and last weights; x is the last one's share of the epochs.

    Raises:
        InsufficientDataError: the network is the pretrained backbone.
    """
    from matplotlib.figure import Figure

    if not training_history:
        raise InsufficientDataError("the network was not trained")
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    stages = (("head", "Linear probe, on frozen features"), ("fine_tuning", "Fine-tuning"))
    panels = figure.subplots(1, len(stages))
    for axes, (stage, title) in zip(panels, stages, strict=True):
        history = [epoch for epoch in training_history if epoch["stage"] == stage]
        epochs = [epoch["epoch"] for epoch in history]
        for name in ("training_loss", "validation_loss"):
            values = [epoch.get(name, np.nan) for epoch in history]
            axes.plot(epochs, values, marker=".", label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (training: with augmentation; validation: cross-entropy)")
        accuracy_axes = axes.twinx()
        accuracies = [epoch["validation_accuracy"] for epoch in history]
        accuracy_axes.plot(epochs, accuracies, "k--", marker=".", label="validation accuracy")
        accuracy_axes.set_ylabel("validation accuracy")
        accuracy_axes.set_ylim(0, 1)
        if stage == "fine_tuning":
            mixed = [epoch for epoch in training_history if epoch["stage"] == "interpolation"]
            positions = [point["share"] * epochs[-1] for point in mixed]
            accuracy_axes.plot(positions, [point["validation_accuracy"] for point in mixed], "kx")
        best = int(np.argmax(accuracies))
        axes.set_title(f"{title}: best accuracy {accuracies[best]:.3f}, epoch {epochs[best]:.0f}")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        [*handles, accuracy_axes.get_lines()[0]],
        [*names, "validation accuracy"],
        loc="outside lower center",
        ncols=3,
    )
    return to_png(figure)


def plot_embedding_curve(embedding_history: list[dict[str, float]]) -> bytes:
    """Plot loss and Recall@1 of the embedding head by epoch; returns a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("epoch (0: principal components)")
    axes.set_ylabel("validation R@1, same group")
    axes.set_ylim(0, 1)
    epochs = [epoch["epoch"] for epoch in embedding_history]
    recalls = [epoch["validation_recall_at_1"] for epoch in embedding_history]
    axes.plot(epochs, recalls, "k--", marker=".")
    loss_axes = axes.twinx()
    loss_axes.plot(epochs, [epoch.get("training_loss", np.nan) for epoch in embedding_history])
    loss_axes.set_ylabel("training loss (line)")
    best = "none"
    if recalls:
        best = f"best {max(recalls):.3f} at epoch {epochs[int(np.argmax(recalls))]}"
    axes.set_title(f"Embedding head: {best}")
    return to_png(figure)


def write_events(training_history: list[dict[str, Any]]) -> bytes:
    """Encode the metrics of fine-tuning for TensorBoard."""
    return encode_events(
        [
            {name: value for name, value in epoch.items() if name != "stage"}
            for epoch in training_history
            if epoch["stage"] == "fine_tuning"
        ]
    )
