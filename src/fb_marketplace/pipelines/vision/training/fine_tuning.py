"""Fine-tuning: the last blocks of a backbone trained with its head, epoch by epoch, resumable.

The recipe: AdamW; a linear warm-up, then a cosine; clipping; crops, mirroring and light, and mixup
(Zhang et al., 2018); label smoothing; a moving average of the weights (Polyak and Juditsky, 1992),
which is what is kept; and from the head that was trained on frozen features, so that the first steps
do not spoil them (Kumar et al., 2022). Imported only where training is, as it imports torch.
"""

import json
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save

from fb_marketplace.errors import UserError
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import FineTuningParameters, VisionParameters
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler, PhotoDataset, make_loader
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.network import (
    Network,
    load_network,
    make_network,
    network_weights,
    path_counts_from_state,
)
from fb_marketplace.pipelines.vision.training import checkpoints
from fb_marketplace.pipelines.vision.training.depthwise_fp32 import keep_depthwise_in_fp32
from fb_marketplace.pipelines.vision.training.device import autocast, best_device
from fb_marketplace.pipelines.vision.training.linear_probe import LinearHead
from fb_marketplace.pipelines.vision.training.tensorboard import EVENTS, encode_events
from fb_marketplace.pipelines.vision.training.train_loop import train_epoch
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.keyed_table import Table

HISTORY: Final = "history.json"
"""What every epoch measured; it is there when the training has ended."""

BLENDS_KEY: Final = "blends.json"

EPOCHS: Final = "epochs trained"

EMA_WARMUP: Final = 10
"""Steps after which the moving average reaches back over about half of what was trained so far."""


class WeightCandidate(NamedTuple):
    """Weights that may be the model: an epoch's, or a blend of two.

    Attributes:
        measures: on validation; ``epoch`` or ``share`` says which weights they are of.
        files: in the work folder, and the share of each in the weights.
    """

    measures: dict[str, float]
    files: dict[str, float]


def fine_tune(
    task: TrainingTask, head: LinearHead, work: CheckpointDir, parameters: VisionParameters
) -> list[WeightCandidate]:
    """Train, or go on with a training; each epoch leaves its weights and measures in the work folder.

    Epoch 0 is the head alone, on the backbone as it came. A training that was stopped goes on from
    the last epoch that it finished, and on one machine, without a GPU, gives the same bytes as one
    that was not; one that has ended is not done again.

    Args:
        task: what is learned.
        head: trained on frozen features.
        work: the folder of this training: another task or recipe has another.
        parameters: the recipe.

    Returns:
        The epochs: ``epoch``, ``training_loss`` and ``learning_rate`` (from 1 on),
        ``validation_loss`` and ``validation_accuracy`` of the averaged weights.

    Raises:
        UserError: the head tells other paths apart than are to be learned.
    """
    found = path_counts_from_state(head.weights)
    expected = task.paths.counts if task.paths else ()
    if found != expected:
        raise UserError(
            f"found a vision_head that tells {list(found)} paths of the categories apart; expected "
            f"{list(expected)}: path_weight, path_photos or the listings are others now; run all of vision"
        )
    if HISTORY not in work.names():
        _end(work, _train(task, head, work, parameters))
        history: list[dict[str, float]] = json.loads(work.read(HISTORY))
    else:
        history = json.loads(work.read(HISTORY))
        with Progress(EPOCHS, len(history) - 1, len(history) - 1):
            pass
    return [WeightCandidate(each, {_weights_file(int(each["epoch"])): 1.0}) for each in history]


def interpolate_weights(
    task: TrainingTask,
    epochs: list[WeightCandidate],
    work: CheckpointDir,
    labels: int,
    parameters: VisionParameters,
) -> list[WeightCandidate]:
    """Measure blends of the weights that training began with and those that it ended with.

    Between the two lie weights that keep more of what the backbone knew, and often answer better
    than either (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models").

    Returns:
        One for each of ``parameters.fine_tuning.blends``: ``share`` of the last epoch's weights,
        ``validation_loss`` and ``validation_accuracy``. None where there is one epoch alone.
    """
    (first,), (last,) = epochs[0].files, epochs[-1].files
    shares = parameters.fine_tuning.blends if first != last else ()
    known: list[dict[str, float]] = []
    if BLENDS_KEY in work.names():
        known = json.loads(work.read(BLENDS_KEY))
    found = []
    for share in shares:
        files = {first: 1 - share, last: share}
        measures = next((each for each in known if each["share"] == share), None)
        if measures is None:
            weights = load(read_weights(work, WeightCandidate({}, files)))
            network = load_network(parameters, labels, weights)
            _in_fp32_where_faster(network, parameters.fine_tuning.blocks)
            measures = {"share": share, **_validated(network, task, parameters)}
        found.append(WeightCandidate(measures, files))
    if found:
        work.write(BLENDS_KEY, json.dumps([each.measures for each in found]).encode())
    return found


def read_weights(work: CheckpointDir, candidate: WeightCandidate) -> bytes:
    """Read the weights of a candidate, or mix them by their shares; gives safetensors."""
    if len(candidate.files) == 1:
        return work.read(*candidate.files)
    (first, _), (last, share) = candidate.files.items()
    before, after = load(work.read(first)), load(work.read(last))
    return save(
        {
            name: before[name].lerp(value, share) if value.is_floating_point() else value
            for name, value in after.items()
        }
    )


def select_best(candidates: list[WeightCandidate]) -> WeightCandidate:
    """Choose the weights with the most validation photos right; of equals, the lowest loss."""
    return max(
        candidates,
        key=lambda each: (each.measures["validation_accuracy"], -each.measures["validation_loss"]),
    )


def _train(
    task: TrainingTask, head: LinearHead, work: CheckpointDir, parameters: VisionParameters
) -> list[dict[str, float]]:
    told = parameters.fine_tuning
    parts = make_training_state(head, parameters)
    history = _resume(work, parts)
    if not history:
        history = [{"epoch": 0.0, **_validated(parts.average.module, task, parameters)}]
        _keep(work, parts, history)
    if _ended(history, told):
        return history
    batches = BatchSampler(len(task.rows), told.batch_size, parameters.seed)
    dataset = PhotoDataset(task.images, task.rows.tolist(), told.augmentation, parameters.seed)
    reading = make_loader(dataset, batches, told.workers)
    with Progress(EPOCHS, told.epochs, len(history) - 1) as progress:
        while not _ended(history, told):
            batches.epoch = epoch = len(history)
            trained = train_epoch(parts, task, reading, epoch, parameters)
            validated = _validated(parts.average.module, task, parameters)
            history.append({"epoch": float(epoch), **trained, **validated})
            _keep(work, parts, history)
            progress.advance(1)
    return history


def _ended(history: list[dict[str, float]], told: FineTuningParameters) -> bool:
    # Not epoch 0, the head alone: the first epochs go far from it, and come back late, if at all.
    right = [each["validation_accuracy"] for each in history[1:]]
    waited = len(right) - 1 - int(np.argmax(right)) if right else 0
    return len(right) >= told.epochs or waited >= told.patience


def _in_fp32_where_faster(network: Network, blocks: int) -> None:
    """Let what is measured be computed as what is trained, or differences would be of rounding."""
    if best_device().type == "cpu":
        for block in network.blocks(blocks)[1]:
            keep_depthwise_in_fp32(block)


def make_training_state(
    head: LinearHead, parameters: VisionParameters
) -> checkpoints.TrainingState:
    """Make what is trained, with what trains it, as they are before the first step."""
    told, device = parameters.fine_tuning, best_device()
    network = make_network(parameters, len(head.labels), path_counts_from_state(head.weights))
    network.head.load_state_dict(head.weights)
    network.head.dropout.p = told.dropout
    for block in network.blocks(told.blocks)[0]:
        block.requires_grad_(False)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _in_fp32_where_faster(network, told.blocks)
    trained = [weight for weight in network.trunk.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in trained if weight.ndim > 1]},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
        {"params": list(network.head.parameters()), "lr": told.head_learning_rate},
    ]
    optimiser = torch.optim.AdamW(groups, told.learning_rate, weight_decay=told.weight_decay)
    for group in optimiser.param_groups:
        group["highest"] = group["lr"]

    def averaged(old: Any, new: Any, steps: Any) -> None:
        reach = min(told.averaging, (1 + int(steps)) / (EMA_WARMUP + int(steps)))
        for kept, value in zip(old, new, strict=True):
            if value.is_floating_point():
                kept.lerp_(value, 1 - reach)
            else:
                kept.copy_(value)

    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=averaged, use_buffers=True)
    return checkpoints.TrainingState(network, average, optimiser)


def _validated(
    network: torch.nn.Module, task: TrainingTask, parameters: VisionParameters
) -> dict[str, float]:
    logits = read_logits(network, task.images, task.validation_rows, parameters.fine_tuning)
    scores, classes = torch.from_numpy(logits), torch.from_numpy(task.validation_classes)
    return {
        "validation_loss": float(torch.nn.functional.cross_entropy(scores, classes)),
        "validation_accuracy": float((scores.argmax(1) == classes).float().mean()),
    }


def read_logits(
    network: torch.nn.Module,
    images: Table,
    rows: NDArray[np.int64],
    told: FineTuningParameters,
) -> NDArray[np.float32]:
    """Ask a network for the logits of photos as they are: float32, (photos, classes)."""
    device = best_device()
    network.to(device).eval()
    reading = PhotoDataset(images, rows.tolist())
    batches = make_loader(reading, BatchSampler(len(rows), told.batch_size, None), workers=0)
    with torch.no_grad(), autocast(device, told.precision):
        answers = [network(batch.pixels.to(device)).float().cpu() for batch in batches]
    read: NDArray[np.float32] = torch.cat(answers).numpy()
    return read


def _resume(work: CheckpointDir, parts: checkpoints.TrainingState) -> list[dict[str, float]]:
    while states := [name for name in work.names() if name.startswith("state_")]:
        try:
            state = work.read(states[-1])
        except FileNotFoundError:
            continue  # Another run of the same training has gone on: there is a later one, or its end.
        facts = checkpoints.restore(state, parts)
        resumed: list[dict[str, float]] = facts["history"]
        return resumed
    ended: list[dict[str, float]] = (
        json.loads(work.read(HISTORY)) if HISTORY in work.names() else []
    )
    return ended


def _keep(
    work: CheckpointDir, parts: checkpoints.TrainingState, history: list[dict[str, float]]
) -> None:
    """Write what the epoch made; the state last, as what it speaks of has to be there."""
    epoch = int(history[-1]["epoch"])
    work.write(_weights_file(epoch), save(network_weights(parts.average.module)))
    work.write(EVENTS, encode_events(history))
    work.write(_state_file(epoch), checkpoints.to_bytes(parts, {"history": history}))
    _remove_states(work, before=epoch)


def _end(work: CheckpointDir, history: list[dict[str, float]]) -> None:
    """Say that a training has ended; what it would have gone on with is not needed any more."""
    # Sorted: a training that was gone on with has its measures in another order.
    work.write(HISTORY, json.dumps(history, sort_keys=True).encode())
    _remove_states(work, before=len(history))


def _remove_states(work: CheckpointDir, before: int) -> None:
    for name in work.names():
        if name.startswith("state_") and name < _state_file(before):
            work.remove(name)


def _weights_file(epoch: int) -> str:
    return f"epoch_{epoch:04}.safetensors"


def _state_file(epoch: int) -> str:
    return f"state_{epoch:04}.safetensors"
