"""The layers that an embedding can be taken from, and the head that is trained to be one.

Imported only by the functions that use it, as it imports torch.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch.nn.functional import normalize

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.vision.models.backbones import HIDDEN, METRIC, POOL
from fb_marketplace.pipelines.vision.models.network import Network

MIN_VALUE: Final = 1e-6


class EmbeddingHead(torch.nn.Module):
    """Pooled levels in, float32 (n, features); an embedding of unit length out, (n, dimension)."""

    def __init__(self, features: int, dimension: int) -> None:
        """Make a head with random weights."""
        super().__init__()
        self.project = torch.nn.Linear(features, dimension)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        """Embed pooled levels."""
        return normalize(self.project(levels), dim=1)


def generalized_mean_pool(maps: torch.Tensor, power: float) -> torch.Tensor:
    """Pool a level, float32 (n, channels, high, wide), to (n, channels).

    By the generalised mean of what is above zero (Radenovic et al., 2019, "Fine-tuning CNN image
    retrieval with no human annotation"), which leans to where a channel is strongest; by the mean where
    the power is one.
    """
    if power == 1:
        return maps.mean((2, 3))
    return maps.clamp(min=MIN_VALUE).pow(power).mean((2, 3)).pow(1 / power)


def pool_blocks(maps: dict[str, torch.Tensor], levels: Sequence[str], power: float) -> torch.Tensor:
    """Pool levels, one after the other, of what :meth:`Network.maps` gave: float32, (n, features)."""
    return torch.cat(
        [
            maps[level] if level == POOL else generalized_mean_pool(maps[level], power)
            for level in levels
        ],
        dim=1,
    )


def block_names(network: Network, count: int) -> tuple[str, ...]:
    """Name the last so many blocks, or all; the last of them, pooled as the classifier sees it."""
    blocks = [name for name, _ in network.trunk.named_children() if name != POOL]
    return (*blocks[-count:-1], POOL)


def block_slices(network: Network, levels: Sequence[str], side: int = 64) -> dict[str, slice]:
    """Say which features of pooled levels are of which level.

    Args:
        network: the network.
        levels: some of its blocks, as in :func:`pooled_levels`.
        side: of the photo that is tried; widths do not depend on it.
    """
    with torch.no_grad():
        photos, widths = torch.zeros((1, 3, side, side)), {}
        for name, block in network.trunk.named_children():
            photos = block(photos)
            widths[name] = photos.shape[1]
    ends = np.cumsum([widths[level] for level in levels]).tolist()
    return {level: slice(end - widths[level], end) for level, end in zip(levels, ends, strict=True)}


class Layer(torch.nn.Module):
    """Gives one layer of a network as the embedding, at unit length."""

    def __init__(
        self,
        network: Network,
        layer: str,
        head: EmbeddingHead | None = None,
        levels: int = 1,
        power: float = 1.0,
    ) -> None:
        """Name the layer.

        Args:
            network: whose layer it is.
            layer: ``metric``: the head below; ``pool``: pooled features; ``fc.1``: the hidden layer
                of a head that has one; or a block by its name, its mean over the photo.
            head: for ``metric``.
            levels: how many blocks the head was trained on.
            power: with which mean.

        Raises:
            UserError: the network has no such layer.
        """
        super().__init__()
        hidden = isinstance(network.head.fc, torch.nn.Sequential)
        if layer == HIDDEN and not hidden:
            raise UserError(
                f"this backbone has no hidden layer, so no '{HIDDEN}': take vision.embedding.layer "
                f"{METRIC}, {POOL} or a block, or the backbone resnet50"
            )
        if layer == METRIC and head is None:
            raise UserError(
                "no head was trained for vision.embedding.layer 'metric'; give vision.embedding.epochs "
                f"of 1 or more, or take {POOL}"
            )
        blocks = [name for name, _ in network.trunk.named_children()]
        if layer not in (METRIC, HIDDEN, *blocks):
            raise UserError(
                f"there is no layer '{layer}' for vision.embedding.layer; there are {METRIC}, "
                f"{', '.join(blocks)}{f', {HIDDEN}' if hidden else ''}"
            )
        self._layer, self._power = layer, power
        self._levels = block_names(network, levels)
        self.head = head

    def forward(self, maps: dict[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
        """Embed.

        Args:
            maps: of :meth:`Network.maps`.
            hidden: what the classifier sees, float32 (n, dimension).
        """
        if self._layer == METRIC and self.head is not None:
            embedding: torch.Tensor = self.head(pool_blocks(maps, self._levels, self._power))
            return embedding
        if self._layer == HIDDEN:
            return normalize(hidden, dim=1)
        found = maps[self._layer]
        return normalize(found if self._layer == POOL else found.mean((2, 3)), dim=1)
