"""Training states as files, with everything that is needed to resume.

safetensors stores the tensors. All else is JSON under one metadata key, because safetensors writes several
keys in random order. This module imports torch, so pipeline nodes import it inside functions.
"""

import json
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import load, save

from fb_marketplace.pipelines.vision.models.network import Network

METADATA: Final = "metadata"


class TrainingState(NamedTuple):
    """A network in training.

    Attributes:
        network: the network that the optimizer changes.
        average: the moving average of its weights.
        optimizer: the optimizer with its moments.
        forward: the network as a function of scaled photos to path logits; in a group of processes, its
            gradients are averaged over the group.
    """

    network: Network
    average: torch.optim.swa_utils.AveragedModel
    optimizer: torch.optim.Optimizer
    forward: torch.nn.Module


def to_bytes(state: TrainingState, metadata: dict[str, Any]) -> bytes:
    """Serialize a state; the same state gives the same bytes."""
    tensors = {
        f"{part}/{name}": value
        for part in ("network", "average")
        for name, value in getattr(state, part).state_dict().items()
    }
    for parameter, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{parameter}/{name}": value for name, value in moments.items()}
    copied = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(copied, {METADATA: json.dumps(metadata, sort_keys=True)})


def restore(content: bytes, state: TrainingState) -> dict[str, Any]:
    """Load a serialized state into one that was built with the same parameters.

    Returns:
        The metadata.
    """
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load(content).items():
        part, _, rest = name.partition("/")
        tensors.setdefault(part, {})[rest] = value
    for part in ("network", "average"):
        getattr(state, part).load_state_dict(tensors.get(part, {}))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.get("optimizer", {}).items():
        parameter, _, moment = name.partition("/")
        moments.setdefault(int(parameter), {})[moment] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    for weight, restored in state.optimizer.state.items():
        for moment, value in restored.items():
            if value.shape == weight.shape:
                # Restore the memory layout of the weight: another one may change the order of sums.
                restored[moment] = torch.empty_like(weight).copy_(value)
    return read_metadata(content)


def read_metadata(content: bytes, key: str = METADATA) -> dict[str, Any]:
    """Read JSON from the metadata of a safetensors file: its header is a length and JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, Any] = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][key])
    return metadata
