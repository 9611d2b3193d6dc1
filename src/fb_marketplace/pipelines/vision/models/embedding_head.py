"""The layers that can be the embedding, and the trained embedding head.

This module imports torch, so pipeline nodes import it inside functions.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import (
    HIDDEN,
    METRIC,
    POOL,
    second_backbone,
)
from fb_marketplace.pipelines.vision.models.network import Network, make_network

MIN_VALUE: Final = 1e-6


class EmbeddingHead(torch.nn.Module):
    """Linear layer from pooled blocks, float32 (n, features), to unit-length embeddings, (n, dimension)."""

    def __init__(self, features: int, dimension: int) -> None:
        """Create a head with random weights."""
        super().__init__()
        self.project = torch.nn.Linear(features, dimension)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return embeddings of pooled blocks."""
        return normalize(self.project(pooled), dim=1)


class HeadPart(NamedTuple):
    """Columns of the pooled blocks with a head of their own.

    Attributes:
        width: number of columns.
        weight: weight of the part's similarities in those of the joined embedding.
    """

    width: int
    weight: float


class JoinedHeads(torch.nn.Module):
    """Heads of parts of the pooled blocks, and the projection of their embeddings to one."""

    def __init__(self, widths: Sequence[int], dimension: int) -> None:
        """Create heads with random weights, each of the given dimension."""
        super().__init__()
        self._widths = list(widths)
        self.heads = torch.nn.ModuleList(EmbeddingHead(width, dimension) for width in widths)
        self.project = torch.nn.Linear(dimension * len(self._widths), dimension, bias=False)

    def join(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the concatenated embeddings of the parts: float32, (n, parts × dimension)."""
        parts = torch.split(pooled, self._widths, dim=1)
        embeddings = [head(part) for head, part in zip(self.heads, parts, strict=True)]
        return torch.cat(embeddings, dim=1)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return embeddings of pooled blocks, of unit length: float32, (n, dimension)."""
        return normalize(self.project(self.join(pooled)), dim=1)


def generalized_mean_pool(maps: torch.Tensor, p: float) -> torch.Tensor:
    """Pool feature maps, float32 (n, channels, height, width), to (n, channels).

    The generalized mean (GeM) of positive values (Radenovic et al., 2019, "Fine-tuning CNN image retrieval
    with no human annotation"); for p = 1 the mean of all values.
    """
    if p == 1:
        return maps.mean((2, 3))
    return maps.clamp(min=MIN_VALUE).pow(p).mean((2, 3)).pow(1 / p)


def pool_blocks(maps: dict[str, torch.Tensor], blocks: Sequence[str], p: float) -> torch.Tensor:
    """Pool and concatenate blocks of the output of :meth:`Network.maps`: float32, (n, features)."""
    return torch.cat(
        [
            maps[block] if block == POOL else generalized_mean_pool(maps[block], p)
            for block in blocks
        ],
        dim=1,
    )


def block_names(network: Network, count: int) -> tuple[str, ...]:
    """Return the names of the last blocks; the last one is replaced by its pooling, ``pool``."""
    return (*network.trunk.block_names[-count:-1], POOL)


def block_slices(network: Network, blocks: Sequence[str]) -> dict[str, slice]:
    """Return the columns of each block in the output of :func:`pool_blocks`.

    Args:
        network: the network.
        blocks: names, as in :func:`pool_blocks`.
    """
    with torch.no_grad():
        maps = network.trunk.maps(torch.zeros((1, 3, network.side, network.side)))
    widths = {name: features.shape[1] for name, features in maps.items()}
    ends = np.cumsum([widths[block] for block in blocks]).tolist()
    return {block: slice(end - widths[block], end) for block, end in zip(blocks, ends, strict=True)}


def head_parts(parameters: VisionParameters) -> tuple[HeadPart, ...]:
    """Return the parts of the pooled blocks that have a head of their own.

    The early and the late blocks of each backbone are a part each: one head on all finds fewer photos
    of the same listing ("Early and late blocks" in ``docs/models.md``).
    """
    config, parts = parameters.embedding, []
    backbones = [one for one in (parameters, second_backbone(parameters)) if one is not None]
    for backbone in backbones:
        # Only the sizes matter; without pretrained weights, nothing is downloaded.
        network = make_network(backbone.model_copy(update={"weights": "none"}), classes=1)
        names = block_names(network, config.num_blocks)
        slices = block_slices(network, names)
        width, early = slices[POOL].stop, 0
        if 0 < config.late_blocks < len(names):
            early = slices[names[-config.late_blocks]].start
        weight = 1 / len(backbones)
        if early:
            parts.append(HeadPart(early, weight * (1 - config.late_weight)))
            weight *= config.late_weight
        parts.append(HeadPart(width - early, weight))
    return tuple(parts)


class SecondBackbone(torch.nn.Module):
    """Pooled blocks of a pretrained backbone, for the embedding head.

    Its weights come from its package, so no file of the lake has them.
    """

    def __init__(self, network: Network, num_blocks: int, gem_p: float) -> None:
        """Select the last blocks of a network, and the exponent of their pooling."""
        super().__init__()
        self.network, self._gem_p = network, gem_p
        self._blocks = block_names(network, num_blocks)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pooled blocks, float32 (n, features), of photos, uint8 (n, 256, 256, 3)."""
        return pool_blocks(self.network.maps(pixels), self._blocks, self._gem_p)


def make_second_backbone(parameters: VisionParameters) -> SecondBackbone | None:
    """Build the second backbone of the embedding; None if the parameters name none.

    Raises:
        UserError: there is no such backbone, or its weights are missing or not as expected.
    """
    second, config = second_backbone(parameters), parameters.embedding
    if second is None:
        return None
    return SecondBackbone(make_network(second, classes=1), config.num_blocks, config.gem_p).eval()


class Layer(torch.nn.Module):
    """A layer of a network whose L2-normalized output is the embedding."""

    def __init__(
        self,
        network: Network,
        layer: str,
        head: EmbeddingHead | JoinedHeads | None = None,
        num_blocks: int = 1,
        gem_p: float = 1.0,
        second: SecondBackbone | None = None,
    ) -> None:
        """Select the layer.

        Args:
            network: the network.
            layer: ``metric``: the embedding head; ``pool``: pooled features; ``fc.1``: the hidden
                layer, if the head has one; or the name of a block: its mean over the photo.
            head: the embedding head, for ``metric``.
            num_blocks: number of blocks that the head was trained on.
            gem_p: exponent of their pooling.
            second: the second backbone that the head was trained on, for ``metric``.

        Raises:
            UserError: the network has no such layer.
        """
        super().__init__()
        has_hidden = isinstance(network.head.fc, torch.nn.Sequential)
        if layer == HIDDEN and not has_hidden:
            raise UserError(
                f"vision.embedding.layer is '{HIDDEN}', but this backbone has no hidden layer. Use "
                f"{METRIC}, {POOL} or a block, or the backbone resnet50."
            )
        if layer == METRIC and head is None:
            raise UserError(
                f"vision.embedding.layer is '{METRIC}', but no head was trained. Set "
                f"vision.embedding.epochs to 1 or more, or the layer to {POOL}."
            )
        blocks = [*network.trunk.block_names, POOL]
        if layer not in (METRIC, HIDDEN, *blocks):
            raise UserError(
                f"vision.embedding.layer is '{layer}'; expected one of {METRIC}, "
                f"{', '.join(blocks)}{f', {HIDDEN}' if has_hidden else ''}"
            )
        self._layer, self._gem_p = layer, gem_p
        self._blocks = block_names(network, num_blocks)
        self.head = head
        self.second = second if layer == METRIC else None

    def forward(
        self,
        maps: dict[str, torch.Tensor],
        hidden: torch.Tensor,
        pixels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return embeddings of unit length: float32, (n, dimension).

        Args:
            maps: output of :meth:`Network.maps`.
            hidden: input of the classifier, float32, (n, dimension).
            pixels: the photos, uint8 (n, 256, 256, 3), for the second backbone.
        """
        if self._layer == METRIC and self.head is not None:
            pooled = pool_blocks(maps, self._blocks, self._gem_p)
            if self.second is not None:
                pooled = torch.cat([pooled, self.second(pixels)], dim=1)
            embedding: torch.Tensor = self.head(pooled)
            return embedding
        if self._layer == HIDDEN:
            return normalize(hidden, dim=1)
        features = maps[self._layer]
        return normalize(features if self._layer == POOL else features.mean((2, 3)), dim=1)
