"""Validation of a network in training.

This module imports torch, so pipeline nodes import it inside functions.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from fb_marketplace.compute.training_group import training_group
from fb_marketplace.parameters.vision import FineTuningParameters, VisionParameters
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler, PhotoDataset, make_loader
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.network import Network
from fb_marketplace.pipelines.vision.training.depthwise_fp32 import keep_depthwise_in_fp32
from fb_marketplace.pipelines.vision.training.device import autocast, best_device
from fb_marketplace.storage.keyed_table import Table


def validate(
    network: torch.nn.Module, task: TrainingTask, parameters: VisionParameters
) -> dict[str, float]:
    """Compute ``validation_loss`` and ``validation_accuracy``."""
    group, rows = training_group(), task.validation_rows
    own = rows[group.part(len(rows))]
    logits = group.gather(read_logits(network, task.images, own, parameters.fine_tuning))
    scores, classes = torch.from_numpy(logits), torch.from_numpy(task.validation_classes)
    return {
        "validation_loss": float(torch.nn.functional.cross_entropy(scores, classes)),
        "validation_accuracy": float((scores.argmax(1) == classes).float().mean()),
    }


def read_logits(
    network: torch.nn.Module,
    images: Table,
    rows: NDArray[np.int64],
    config: FineTuningParameters,
) -> NDArray[np.float32]:
    """Compute the logits of photos without augmentation.

    Args:
        network: the network; it is moved to the best device.
        images: the canonical photos.
        rows: positions of the photos in the table.
        config: batch size and precision.

    Returns:
        float32, (photos, classes).
    """
    if not len(rows):
        return np.empty((0, 0), np.float32)
    device = best_device()
    network.to(device).eval()
    dataset = PhotoDataset(images, rows.tolist())
    batches = make_loader(dataset, BatchSampler(len(rows), config.batch_size, None), workers=0)
    with torch.no_grad(), autocast(device, config.precision):
        logits = [network(batch.pixels.to(device)).float().cpu() for batch in batches]
    result: NDArray[np.float32] = torch.cat(logits).numpy()
    return result


def use_training_precision(network: Network, trainable_blocks: int) -> None:
    """Make a network compute as in training, so that validation accuracies are comparable."""
    network.freeze(trainable_blocks)
    if best_device().type == "cpu":
        keep_depthwise_in_fp32(network.trunk)
