"""How a training went, as a picture and as TensorBoard's events."""

from typing import Any

import numpy as np

from fb_marketplace.evaluation.plots import to_png
from fb_marketplace.pipelines.vision.training.tensorboard import encode_events


def plot_learning_curves(training_history: list[dict[str, Any]]) -> bytes:
    """Draw loss and accuracy by epoch, of the head alone and of fine-tuning, side by side; a PNG.

    Crosses are blends of first and last weights, by the share of the last.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(11, 4.5), layout="constrained")
    stages = (("head", "Head alone, on frozen features"), ("fine_tuning", "Fine-tuning"))
    drawn = made.subplots(1, len(stages))
    for axes, (stage, title) in zip(drawn, stages, strict=True):
        history = [epoch for epoch in training_history if epoch["stage"] == stage]
        epochs = [epoch["epoch"] for epoch in history]
        for name in ("training_loss", "validation_loss"):
            shown = [epoch.get(name, np.nan) for epoch in history]
            axes.plot(epochs, shown, marker=".", label=name.replace("_", " "))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss (training: as trained; validation: cross-entropy)")
        accuracy = axes.twinx()
        right = [epoch["validation_accuracy"] for epoch in history]
        accuracy.plot(epochs, right, "k--", marker=".", label="validation accuracy")
        accuracy.set_ylabel("share of validation photos right")
        accuracy.set_ylim(0, 1)
        if stage == "fine_tuning":
            blends = [epoch for epoch in training_history if epoch["stage"] == "blend"]
            places = [blend["share"] * epochs[-1] for blend in blends]
            accuracy.plot(places, [blend["validation_accuracy"] for blend in blends], "kx")
        best = int(np.argmax(right))
        axes.set_title(f"{title}: best at epoch {epochs[best]:.0f}, {right[best]:.3f} right")
    handles, names = drawn[0].get_legend_handles_labels()
    made.legend(
        [*handles, accuracy.get_lines()[0]],
        [*names, "validation accuracy"],
        loc="outside lower center",
        ncols=3,
    )
    return to_png(made)


def plot_embedding_curve(embedding_history: list[dict[str, float]]) -> bytes:
    """Draw how the head of the embedding was trained; a PNG."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(7, 4.5), layout="constrained")
    axes = made.subplots()
    axes.set_xlabel("epoch (0: main components)")
    axes.set_ylabel("validation photos whose nearest is of their group")
    axes.set_ylim(0, 1)
    epochs = [each["epoch"] for each in embedding_history]
    right = [each["validation_recall_at_1"] for each in embedding_history]
    axes.plot(epochs, right, "k--", marker=".")
    losses = axes.twinx()
    losses.plot(epochs, [each.get("training_loss", np.nan) for each in embedding_history])
    losses.set_ylabel("training loss (line)")
    best = f"best {max(right):.3f} at epoch {epochs[int(np.argmax(right))]}" if right else "none"
    axes.set_title(f"Head of the embedding: {best}")
    return to_png(made)


def write_events(training_history: list[dict[str, Any]]) -> bytes:
    """Write the measures of fine-tuning for TensorBoard."""
    return encode_events(
        [
            {name: value for name, value in epoch.items() if name != "stage"}
            for epoch in training_history
            if epoch["stage"] == "fine_tuning"
        ]
    )
