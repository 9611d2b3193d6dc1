"""Batch normalization over the whole batch of a group of processes.

torch's own ``SyncBatchNorm`` works on GPUs only, and drops the activation of timm's layers. This module
imports torch, so pipeline nodes import it inside functions.
"""

from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


def synchronize_batch_norm(network: torch.nn.Module) -> None:
    """Make trainable batch normalization use the photos of all processes; keep layer names."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and any(
            weight.requires_grad for weight in module.parameters()
        ):
            kind: Any = type(module)
            module.__class__ = _synchronized(kind)


@cache
def _synchronized(kind: Any) -> Any:
    # A subclass, as in `depthwise_fp32`: hooks would be copied to the moving average.
    class Synchronized(kind):  # type: ignore[misc]
        def forward(self, input: torch.Tensor) -> Any:  # noqa: A002 - torch's name
            if not self.training:
                return super().forward(input)
            mean, variance, count = _statistics(input)
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            result = _Normalize.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, mean, variance, count, self.eps
            )
            for name in ("drop", "act"):  # of timm's layers
                result = getattr(self, name, torch.nn.Identity())(result)
            return result

    return Synchronized


@torch.no_grad()
def _statistics(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the mean and the biased variance of each channel over all processes, and the number
    of values.
    """
    variance, mean = torch.var_mean(values.float(), _but_channels(values), correction=0)
    count = torch.tensor([values.numel() / len(mean)], device=mean.device)
    # Sums of squares over all processes would lose digits.
    parts = torch.zeros(dist.get_world_size(), 2 * len(mean) + 1, device=mean.device)
    parts[dist.get_rank()] = torch.cat([mean, variance, count])
    dist.all_reduce(parts)
    means, variances, counts = torch.split(parts, [len(mean), len(mean), 1], dim=1)
    total = counts.sum()
    shares = counts / total
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean) ** 2)).sum(0), total


class _Normalize(torch.autograd.Function):
    """Normalization whose gradient also flows through the statistics of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        count: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, weight, mean, torch.rsqrt(variance + eps), count)
        return batch_norm(values, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        values, weight, mean, scale, count = ctx.saved_tensors
        gradient, dimensions = gradients[0].float(), _but_channels(values)
        shape = [1, -1] + [1] * (values.ndim - 2)
        normalized = (values.float() - mean.view(shape)) * scale.view(shape)
        # Those of this process: the gradients of weights are averaged with all others.
        bias_gradient = gradient.sum(dimensions)
        weight_gradient = (gradient * normalized).sum(dimensions)
        sums = torch.stack([bias_gradient, weight_gradient])
        dist.all_reduce(sums)
        mean_gradient, mean_product = (sums / count).view(2, *shape)
        change = (weight * scale).view(shape) * (
            gradient - mean_gradient - normalized * mean_product
        )
        return change.to(values.dtype), weight_gradient, bias_gradient, None, None, None, None


def _but_channels(values: torch.Tensor) -> list[int]:
    return [dimension for dimension in range(values.ndim) if dimension != 1]
