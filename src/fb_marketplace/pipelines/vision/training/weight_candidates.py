"""Weights that may become the model: those of each epoch, and interpolations (WiSE-FT).

This module imports torch, so pipeline nodes import it inside functions.
"""

import json
from typing import Final, NamedTuple

from safetensors.torch import load, save

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import TrainingTask
from fb_marketplace.pipelines.vision.models.network import load_network
from fb_marketplace.pipelines.vision.training.validation import use_training_precision, validate
from fb_marketplace.storage.checkpoint_dir import CheckpointDir

INTERPOLATIONS: Final = "interpolations.json"


class WeightCandidate(NamedTuple):
    """Weights of an epoch, or an interpolation of two.

    Attributes:
        metrics: validation metrics, and ``epoch`` or ``share``.
        files: share of each file of the checkpoint directory in the weights.
    """

    metrics: dict[str, float]
    files: dict[str, float]


def interpolate_weights(
    task: TrainingTask,
    epochs: list[WeightCandidate],
    work: CheckpointDir,
    labels: int,
    parameters: VisionParameters,
) -> list[WeightCandidate]:
    """Validate interpolations between the initial and the final weights.

    Interpolated weights keep more of the pretrained knowledge, and are often more accurate than either
    (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models").

    Args:
        task: photos to validate on.
        epochs: candidates, in the order of training.
        work: checkpoint directory of the training.
        labels: number of classes.
        parameters: the shares of the final weights.

    Returns:
        A candidate for each of ``wise_ft_alphas``, with ``share``, ``validation_loss`` and
        ``validation_accuracy``; empty if there is only one epoch.
    """
    (first,), (last,) = epochs[0].files, epochs[-1].files
    config = parameters.fine_tuning
    known: list[dict[str, float]] = []
    if INTERPOLATIONS in work.names():
        known = json.loads(work.read(INTERPOLATIONS))
    candidates = []
    for share in config.wise_ft_alphas if first != last else ():
        files = {first: 1 - share, last: share}
        metrics = next((entry for entry in known if entry["share"] == share), None)
        if metrics is None:
            weights = load(read_weights(work, WeightCandidate({}, files)))
            network = load_network(parameters, labels, weights)
            use_training_precision(network, config.trainable_blocks)
            metrics = {"share": share, **validate(network, task, parameters)}
        candidates.append(WeightCandidate(metrics, files))
    if candidates:
        content = json.dumps([candidate.metrics for candidate in candidates])
        work.write(INTERPOLATIONS, content.encode())
    return candidates


def read_weights(work: CheckpointDir, candidate: WeightCandidate) -> bytes:
    """Read or interpolate the weights of a candidate; returns safetensors."""
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
    """Return the candidate with the highest validation accuracy; the lowest loss breaks ties."""
    return max(
        candidates,
        key=lambda candidate: (
            candidate.metrics["validation_accuracy"],
            -candidate.metrics["validation_loss"],
        ),
    )
