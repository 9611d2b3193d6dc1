"""One epoch of fine-tuning: what happens to a batch of photos.

Imported only where training is, as it imports torch.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch.utils.data import DataLoader

from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.augmentation import sample_mixup_share
from fb_marketplace.pipelines.vision.data.dataset import Batch
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.training.checkpoints import TrainingState
from fb_marketplace.pipelines.vision.training.device import autocast, best_device
from fb_marketplace.pipelines.vision.training.linear_probe import class_weights, make_loss

LossOf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Gives the loss of logits of classes, logits of paths, and the places of the photos."""

RECENT: Final = 50
"""Steps that the loss on show is the mean of."""


def train_epoch(
    parts: TrainingState,
    task: TrainingTask,
    batches: DataLoader[Batch],
    epoch: int,
    parameters: VisionParameters,
) -> dict[str, float]:
    """Train one epoch; gives the mean ``training_loss`` and the last ``learning_rate``.

    What is random follows from the seed and the epoch alone, so that an epoch that was broken off
    can be trained anew.
    """
    told, network = parameters.fine_tuning, parts.network
    network.eval()
    for module in (*network.blocks(told.blocks)[1], network.head):
        module.train()
    loss_of = _loss(task, parts, parameters)
    classes = torch.from_numpy(task.classes).to(best_device())
    torch.manual_seed(parameters.seed * 100_003 + epoch)
    generator = np.random.default_rng([parameters.seed, epoch, 1])
    losses, right, seen, factor = [], 0.0, 0, 0.0
    what = f"photos of epoch {epoch} of {told.epochs}"
    with Progress(what, len(batches) * min(told.batch_size, len(task.rows))) as progress:
        for step, batch in enumerate(batches):
            steps = len(batches) * told.epochs
            factor = learning_rate_at((epoch - 1) * len(batches) + step, steps, told.warm_up)
            for group in parts.optimiser.param_groups:
                group["lr"] = group["highest"] * factor
            loss, said = _forward(parts, batch, loss_of, generator, parameters)
            _step(parts, loss, told.max_gradient_norm)
            losses.append(loss.item())
            right += float((said == classes[batch.places.to(said.device)]).sum())
            seen += len(batch.places)
            note = f"loss {np.mean(losses[-RECENT:]):.3f}, right {right / seen:.3f}"
            progress.advance(len(batch.places), note)
    return {"training_loss": float(np.mean(losses)), "learning_rate": told.learning_rate * factor}


def learning_rate_at(step: int, steps: int, warm_up: float) -> float:
    """Give the share of the highest rate at a step: up in a line, down along a cosine."""
    warming = max(1, round(steps * warm_up))
    if step < warming:
        return (step + 1) / warming
    return 0.5 * (1 + math.cos(math.pi * (step - warming) / max(1, steps - warming)))


def _forward(
    parts: TrainingState,
    batch: Batch,
    loss_of: LossOf,
    generator: np.random.Generator,
    parameters: VisionParameters,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the loss of a batch, each photo mixed with another, and the classes that are said of it."""
    told, device, network = parameters.fine_tuning, best_device(), parts.network
    frozen, trained = network.blocks(told.blocks)
    share = sample_mixup_share(generator, told.mixup)
    order = torch.from_numpy(generator.permutation(len(batch.places))).to(device)
    places = batch.places.to(device)
    with autocast(device, told.precision):
        with torch.no_grad():
            photos = network.scale(batch.pixels.to(device, non_blocking=True))
            photos = (share * photos + (1 - share) * photos[order]).contiguous(
                memory_format=torch.channels_last
            )
            for block in frozen:
                photos = block(photos)
        for block in trained:
            photos = block(photos)
        embedded = network.head.embed(photos)
        told_apart = network.head.tell_apart(embedded).float()
    logits = network.head.of_classes(told_apart)
    loss = share * loss_of(logits, told_apart, places)
    if share < 1:
        loss = loss + (1 - share) * loss_of(logits, told_apart, places[order])
    return loss, logits.argmax(1)


def _step(parts: TrainingState, loss: torch.Tensor, max_gradient_norm: float) -> None:
    parts.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    trained = [weight for group in parts.optimiser.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(trained, max_gradient_norm)
    parts.optimiser.step()
    parts.average.update_parameters(parts.network)


def _loss(task: TrainingTask, parts: TrainingState, parameters: VisionParameters) -> LossOf:
    device, head = best_device(), parts.network.head
    classes = torch.from_numpy(task.classes).to(device)
    paths = torch.from_numpy(task.paths.of if task.paths else task.classes).to(device)
    weights = class_weights(task.classes, head.classes, parameters.class_balance)
    loss_of = make_loss(torch.from_numpy(weights).to(device), task.paths is not None, parameters)
    return lambda logits, told_apart, places: loss_of(
        logits, told_apart, classes[places], paths[places]
    )
