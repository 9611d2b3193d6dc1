"""All that a training needs to go on as if it had never stopped, as one file.

safetensors holds the tensors; what is no tensor stands in its metadata, under one key: several come
out in an order that changes from run to run. Imported only where training is, as it imports torch.
"""

import json
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import load, save

from fb_marketplace.pipelines.vision.models.network import Network

METADATA: Final = "facts"


class TrainingState(NamedTuple):
    """What is trained, and what trains it.

    Attributes:
        network: the weights that the optimiser changes.
        average: the moving average of the network's weights.
        optimiser: with its moments.
    """

    network: Network
    average: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer


def to_bytes(parts: TrainingState, facts: dict[str, Any]) -> bytes:
    """Write a state; the same state gives the same bytes."""
    tensors = {
        f"{part}/{name}": value
        for part in ("network", "average")
        for name, value in getattr(parts, part).state_dict().items()
    }
    for place, moments in parts.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{place}/{name}": value for name, value in moments.items()}
    copied = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(copied, {METADATA: json.dumps(facts, sort_keys=True)})


def restore(content: bytes, parts: TrainingState) -> dict[str, Any]:
    """Bring parts, made anew by the same parameters, to a written state; gives its facts."""
    tensors: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load(content).items():
        part, _, rest = name.partition("/")
        tensors.setdefault(part, {})[rest] = value
    for part in ("network", "average"):
        getattr(parts, part).load_state_dict(tensors.get(part, {}))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.get("optimiser", {}).items():
        place, _, moment = name.partition("/")
        moments.setdefault(int(place), {})[moment] = value
    groups = parts.optimiser.state_dict()["param_groups"]
    parts.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    for weight, restored in parts.optimiser.state.items():
        for moment, value in restored.items():
            if value.shape == weight.shape:
                # Laid out as the weight is, as it was before: or sums might be in another order.
                restored[moment] = torch.empty_like(weight).copy_(value)
    return read_metadata(content)


def read_metadata(content: bytes) -> dict[str, Any]:
    """Read what is no tensor: the header of a safetensors file is its length and JSON."""
    length = int.from_bytes(content[:8], "little")
    facts: dict[str, Any] = json.loads(
        json.loads(content[8 : 8 + length])["__metadata__"][METADATA]
    )
    return facts
