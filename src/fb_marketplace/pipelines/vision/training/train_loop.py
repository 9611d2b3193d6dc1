"""One epoch of fine-tuning.

This module imports torch, so pipeline nodes import it inside functions.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch.utils.data import DataLoader

from fb_marketplace.compute.training_group import training_group
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.augmentation import sample_mixup_share
from fb_marketplace.pipelines.vision.data.dataset import Batch
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.training.checkpoints import TrainingState
from fb_marketplace.pipelines.vision.training.device import autocast, best_device
from fb_marketplace.pipelines.vision.training.linear_probe import class_weights, make_loss

BatchLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Loss of class logits, path logits and positions of the photos in the task."""

DISPLAYED_STEPS: Final = 50
"""Steps that the displayed loss is averaged over."""


def train_epoch(
    state: TrainingState,
    task: TrainingTask,
    batches: DataLoader[Batch],
    epoch: int,
    parameters: VisionParameters,
) -> dict[str, float]:
    """Train one epoch.

    Randomness depends on seed, epoch and rank only, so an interrupted epoch can be repeated. A group of
    processes takes the steps of one process: each process has its part of every batch.

    Returns:
        The mean ``training_loss`` and the last ``learning_rate``.
    """
    config, processes = parameters.fine_tuning, training_group()
    state.network.train()
    compute_loss = _make_batch_loss(task, state, parameters)
    classes = torch.from_numpy(task.classes).to(best_device())
    # Each rank has other dropout, as the photos of one process have.
    torch.manual_seed(parameters.seed * 100_003 + epoch + processes.rank * 1_000_003)
    generator = np.random.default_rng([parameters.seed, epoch, 1])
    losses, correct, seen, factor = [], 0.0, 0, 0.0
    steps = len(batches) * config.epochs
    batch_size = min(config.batch_size, len(task.rows))
    photos = len(batches) * batch_size
    with Progress(f"photos of epoch {epoch} of {config.epochs}", photos) as progress:
        for step, batch in enumerate(batches):
            step_of_training = (epoch - 1) * len(batches) + step
            factor = learning_rate_at(step_of_training, steps, config.warmup_fraction)
            for group in state.optimizer.param_groups:
                group["lr"] = group["max_lr"] * factor
            mixup = _sample_mixup(generator, batch_size, config.mixup)
            loss, predicted = _forward(state, batch, compute_loss, mixup, config.precision)
            # The mean over the group weighs all processes equally, not all photos.
            share = len(batch.positions) / batch_size
            _step(state, loss * (share * processes.size), config.max_gradient_norm)
            losses.append(loss.item() * share)
            correct += float((predicted == classes[batch.positions.to(predicted.device)]).sum())
            seen += len(batch.positions)
            mean_loss = np.mean(losses[-DISPLAYED_STEPS:]) * processes.size
            progress.advance(
                len(batch.positions), f"loss {mean_loss:.3f}, accuracy {correct / seen:.3f}"
            )
    loss_of_steps = processes.sum(np.asarray(losses))
    return {
        "training_loss": float(np.mean(loss_of_steps)),
        "learning_rate": config.learning_rate * factor,
    }


def learning_rate_at(step: int, steps: int, warmup_fraction: float) -> float:
    """Return the fraction of the peak learning rate at a step: linear warmup, then cosine decay."""
    warmup = max(1, round(steps * warmup_fraction))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _sample_mixup(
    generator: np.random.Generator, batch_size: int, alpha: float
) -> tuple[float, torch.Tensor]:
    """Return the mixup weight of a batch, and the partner of each photo in the part of this process."""
    share, order = sample_mixup_share(generator, alpha), generator.permutation(batch_size)
    # Partners are photos of the same process: their ranks in its part of the order.
    own = order[training_group().part(batch_size)].argsort().argsort()
    return share, torch.from_numpy(own)


def _forward(
    state: TrainingState,
    batch: Batch,
    compute_loss: BatchLoss,
    mixup: tuple[float, torch.Tensor],
    precision: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a batch after mixup, and the predicted classes."""
    device, network = best_device(), state.network
    share, order = mixup[0], mixup[1].to(device)
    positions = batch.positions.to(device)
    with autocast(device, precision):
        with torch.no_grad():
            photos = network.scale(batch.pixels.to(device, non_blocking=True))
            photos = (share * photos + (1 - share) * photos[order]).contiguous(
                memory_format=torch.channels_last
            )
        path_logits = state.forward(photos).float()
    logits = network.head.class_logits(path_logits)
    loss = share * compute_loss(logits, path_logits, positions)
    if share < 1:
        loss = loss + (1 - share) * compute_loss(logits, path_logits, positions[order])
    return loss, logits.argmax(1)


def _step(state: TrainingState, loss: torch.Tensor, max_gradient_norm: float) -> None:
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [weight for group in state.optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, max_gradient_norm)
    state.optimizer.step()
    state.average.update_parameters(state.network)


def _make_batch_loss(
    task: TrainingTask, state: TrainingState, parameters: VisionParameters
) -> BatchLoss:
    device, head = best_device(), state.network.head
    classes = torch.from_numpy(task.classes).to(device)
    paths = torch.from_numpy(task.paths.classes if task.paths else task.classes).to(device)
    weights = class_weights(task.classes, head.classes, parameters.class_weight_power)
    weight_of_class = torch.from_numpy(weights).to(device)
    compute_loss = make_loss(weight_of_class, task.paths is not None, parameters)
    is_shared = parameters.class_weight_power > 0 and training_group().size > 1

    def compute_batch_loss(
        logits: torch.Tensor, path_logits: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        own = classes[positions]
        factor = _class_factor(weight_of_class[own]) if is_shared else None
        return compute_loss(logits, path_logits, own, paths[positions], factor)

    return compute_batch_loss


def _class_factor(weights: torch.Tensor) -> torch.Tensor:
    """Return the factor that makes the weighted mean of a part count as in the mean of its batch.

    Args:
        weights: float32, (photos of this process,), their class weights.
    """
    part = torch.stack([weights.sum(), torch.ones_like(weights).sum()])
    batch = part.clone()
    torch.distributed.all_reduce(batch)
    shares = part / batch
    return shares[0] / shares[1]
