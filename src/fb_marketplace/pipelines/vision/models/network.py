"""The network: pixels of photos without bars in, logits of classes and feature maps of blocks out.

This module imports torch, so pipeline nodes import it inside functions.
"""

from collections.abc import Sequence
from typing import Final, Self

import torch
from torch.nn.functional import interpolate, normalize

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import build_backbone, get_backbone
from fb_marketplace_serving.imaging.canonical import SIDE

SCALE: Final = 8.0
"""Norm of the input of a linear classifier; at norm one, its weights would be huge."""


class ClassificationHead(torch.nn.Module):
    """Pooled features of the backbone in, logits out.

    The layers are called ``fc``. With a hidden layer, as in the original project, they are
    ``fc.0`` (linear), ``fc.1`` (ReLU, whose output is the embedding) and ``fc.2`` (linear). Without
    one, the pooled features are the embedding and ``fc`` is linear. ``dropout`` comes before the last
    layer; its rate is 0 until training sets it.

    If classes have paths, the last layer gives logits of paths, and the probability of a class is the
    sum over its paths.
    """

    def __init__(
        self, features: int, hidden: int, classes: int, path_counts: Sequence[int] = ()
    ) -> None:
        """Create a head with random weights.

        Args:
            features: size of the pooled features.
            hidden: width of the hidden layer; 0: none.
            classes: number of classes.
            path_counts: number of paths of each class; empty if the last layer gives logits of classes.

        Raises:
            ValueError: the number of counts differs from the number of classes.
        """
        super().__init__()
        if path_counts and len(path_counts) != classes:
            raise ValueError(
                f"the head has paths of {len(path_counts)} categories; expected {classes}. Its weights and "
                "labels come from different trainings."
            )
        self.dimension, self.classes = hidden or features, classes
        self._path_counts, outputs = list(path_counts), sum(path_counts) or classes
        if path_counts:
            # Stored with the weights, so that they can be loaded without the training data.
            self.register_buffer("path_counts", torch.tensor(self._path_counts))
        self.dropout = torch.nn.Dropout(0.0)
        self.fc = (
            torch.nn.Sequential(
                torch.nn.Linear(features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, outputs)
            )
            if hidden
            else torch.nn.Linear(features, outputs)
        )

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Return the input of the classifier: float32, (n, dimension)."""
        if isinstance(self.fc, torch.nn.Sequential):
            hidden: torch.Tensor = self.fc[1](self.fc[0](features))
            return hidden
        return normalize(features, dim=1) * SCALE

    def path_logits(self, embedded: torch.Tensor) -> torch.Tensor:
        """Return logits for the output of :meth:`embed`: of paths, or of classes if they have no paths."""
        layer = self.fc[2] if isinstance(self.fc, torch.nn.Sequential) else self.fc
        logits: torch.Tensor = layer(self.dropout(embedded))
        return logits

    def class_logits(self, path_logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of classes: log-sum-exp over the paths of each class."""
        if not self._path_counts:
            return path_logits
        by_class = torch.split(path_logits, self._path_counts, dim=1)
        return torch.stack([logits.logsumexp(dim=1) for logits in by_class], dim=1)

    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Return class logits for the output of :meth:`embed`: float32, (n, classes)."""
        return self.class_logits(self.path_logits(embedded).float())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return uncalibrated class logits for pooled features: float32, (n, classes)."""
        return self.classify(self.embed(features))


class Network(torch.nn.Module):
    """A backbone, ``trunk``, and a ``head``.

    Attributes:
        side: side in pixels that photos are resized to.
    """

    def __init__(
        self, parameters: VisionParameters, classes: int, path_counts: Sequence[int] = ()
    ) -> None:
        """Create the backbone with its pretrained weights, and a head with random ones."""
        super().__init__()
        backbone = get_backbone(parameters)
        self.side = backbone.side
        self._mean, self._std = backbone.mean, backbone.std
        self.trunk = build_backbone(parameters)
        self.head = make_head(parameters, classes, path_counts)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize and normalize stretched photos, uint8 (n, 256, 256, 3), for the backbone."""
        scaled = self.scale(pixels)
        if self.side == SIDE:
            return scaled
        return interpolate(
            scaled, size=(self.side, self.side), mode="bilinear", align_corners=False
        )

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalize uint8 (n, side, side, 3) to float32 (n, 3, side, side)."""
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (self._mean, self._std)
        )
        return (pixels.permute(0, 3, 1, 2).to(torch.float32) / 255 - mean) / std

    def freeze(self, trainable: int) -> None:
        """Freeze the weights of all blocks but the last.

        Args:
            trainable: number of trainable blocks; -1: all.
        """
        blocks = self.trunk.block_weights()
        first = 0 if trainable < 0 else max(0, len(blocks) - trainable)
        for place, block in enumerate(blocks):
            for weight in block:
                weight.requires_grad_(place >= first)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the modules; frozen ones keep the statistics of their normalization."""
        super().train(mode)
        for module in self.trunk.modules():
            weights = list(module.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()
        return self

    def maps(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the outputs of blocks by name, (n, channels, height, width); ``pool`` is (n, features)."""
        return self.trunk.maps(self.prepare(pixels))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return class logits, (n, classes), for stretched photos, uint8 (n, 256, 256, 3)."""
        logits: torch.Tensor = self.head(self.trunk(self.prepare(pixels)))
        return logits


def make_head(
    parameters: VisionParameters,
    classes: int,
    path_counts: Sequence[int] = (),
    hidden: int | None = None,
) -> ClassificationHead:
    """Build the head of a backbone, with random weights from torch's global seed.

    Args:
        parameters: the backbone.
        classes: number of classes.
        path_counts: number of paths of each class.
        hidden: width of the hidden layer; None: the backbone's own.
    """
    backbone = get_backbone(parameters)
    width = backbone.hidden if hidden is None else hidden
    return ClassificationHead(backbone.features, width, classes, path_counts)


def make_network(
    parameters: VisionParameters, classes: int, path_counts: Sequence[int] = ()
) -> Network:
    """Build a network with a pretrained backbone; random weights come from ``parameters.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        return Network(parameters, classes, path_counts).eval()


def load_network(
    parameters: VisionParameters, classes: int, weights: dict[str, torch.Tensor]
) -> Network:
    """Build a network from its weights; pretrained weights are not needed."""
    untrained = parameters.model_copy(update={"weights": "none", "weights_sha256": None})
    network = make_network(untrained, classes, path_counts_from_state(weights, "head.path_counts"))
    network.load_state_dict(weights)
    return network.eval()


def load_trained_network(weights: bytes, classes: int, parameters: VisionParameters) -> Network:
    """Build a network from a safetensors file."""
    from safetensors.torch import load

    return load_network(parameters, classes, load(weights))


def path_counts_from_state(
    weights: dict[str, torch.Tensor], name: str = "path_counts"
) -> tuple[int, ...]:
    """Return the number of paths of each class from weights; empty if classes have no paths."""
    return tuple(weights[name].tolist()) if name in weights else ()


def hidden_width(weights: dict[str, torch.Tensor]) -> int:
    """Return the width of the hidden layer from the weights of a head; 0 if there is none."""
    return len(weights["fc.0.weight"]) if "fc.0.weight" in weights else 0


def network_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of the state of a network on the CPU."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
    }
