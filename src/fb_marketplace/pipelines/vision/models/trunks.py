"""Trunks: photos in, feature maps by block and pooled features out.

This module imports torch, so pipeline nodes import it inside functions.
"""

from types import SimpleNamespace
from typing import Any

import torch

from fb_marketplace.pipelines.vision.models.backbones import POOL

Weights = list[torch.nn.Parameter]


class BlockTrunk(torch.nn.Sequential):
    """A chain of blocks, by name, which ends with the pooling."""

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of the blocks, from the first to the last."""
        return tuple(name for name, _ in self.named_children() if name != POOL)

    def block_weights(self) -> list[Weights]:
        """Return the weights of each block."""
        return [list(block.parameters()) for block in self][:-1]

    def maps(self, photos: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs of blocks, (n, channels, height, width), and ``pool``, (n, features)."""
        outputs = {}
        for name, block in self.named_children():
            photos = outputs[name] = block(photos)
        return outputs


class TimmTrunk(torch.nn.Module):
    """A network of timm: its blocks are its feature maps, its pooling that of its classifier."""

    def __init__(self, network: Any) -> None:
        """Wrap a network without classifier."""
        super().__init__()
        self.network = network
        self.block_names = tuple(f"block{place}" for place in range(len(network.feature_info)))

    def block_weights(self) -> list[Weights]:
        """Return the weights of each layer group of timm; those after the last belong to it."""
        from timm.models import group_parameters

        # timm puts weights that match no layer, such as the last normalization, in a group of their own.
        named = [*self.network.named_parameters(), ("unmatched", None)]
        source: Any = SimpleNamespace(named_parameters=lambda: iter(named))
        grouped = group_parameters(
            source,
            self.network.group_matcher(coarse=True),
            return_values=True,
        )
        groups = [grouped[place] for place in sorted(grouped)]
        if len(groups) > 1 and groups[-1][-1] is None:
            groups[-2:] = [groups[-2] + groups[-1]]
        return [[weight for weight in group if weight is not None] for group in groups]

    def maps(self, photos: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs of blocks, (n, channels, height, width), and ``pool``, (n, features)."""
        features, maps = self.network.forward_intermediates(photos)
        pooled = self.network.forward_head(features, pre_logits=True)
        return {**dict(zip(self.block_names, maps, strict=True)), POOL: pooled}

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """Return the pooled features, (n, features)."""
        return self.maps(photos)[POOL]
