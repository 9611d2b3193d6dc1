"""Depthwise convolutions in fp32 under bf16 autocast.

On CPUs the gradients of depthwise convolutions take longer in bf16 than in fp32; those of dense ones take
less. This module imports torch, so pipeline nodes import it inside functions.
"""

from functools import cache
from typing import Any

import torch


def keep_depthwise_in_fp32(network: torch.nn.Module) -> None:
    """Make trainable depthwise convolutions compute in fp32 under autocast; keep layer names."""
    for module in network.modules():
        if (
            isinstance(module, torch.nn.Conv2d)
            and module.groups == module.in_channels > 1
            and module.weight.requires_grad
        ):
            kind: Any = type(module)
            module.__class__ = _in_fp32(kind)


@cache
def _in_fp32(kind: Any) -> Any:
    # A subclass, not a hook: a copy of the module, such as the moving average, has to compute with its own
    # weights. It cannot be pickled, but only weights are saved.
    class InFloat32(kind):  # type: ignore[misc]
        def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - torch's name
            with torch.autocast(input.device.type, enabled=False):
                return super().forward(input.float())

    return InFloat32
