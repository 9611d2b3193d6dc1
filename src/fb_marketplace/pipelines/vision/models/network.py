"""The network: from pixels of canonical photos to logits of the classes, and what each block makes of them.

Imported only by the functions that use it, as it imports torch.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch.nn.functional import interpolate, normalize

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import BACKBONES, build_backbone
from fb_marketplace_serving.imaging.canonical import SIDE

SCALE: Final = 8.0
"""Length of the features that a linear classifier sees: at length one, its weights would be huge."""


class HeadWeights(torch.nn.Module):
    """What comes after the backbone: pooled features in, logits out.

    ``dropout`` is what of its input the last layer does not see in training; none, until told.
    The layers are called ``fc``. With a hidden layer, as the original has over ResNet50, they are
    ``fc.0`` (linear), ``fc.1`` (ReLU, whose output is the embedding) and ``fc.2`` (linear). Without
    one, the pooled features are the embedding and ``fc`` is linear.

    Where the classes have paths, the last layer tells those apart, and a class is as probable as all
    of its paths together.
    """

    def __init__(
        self, features: int, hidden: int, classes: int, path_counts: Sequence[int] = ()
    ) -> None:
        """Make a head with random weights.

        Args:
            features: size of the pooled features.
            hidden: width of the hidden layer; 0: there is none.
            classes: how many there are.
            path_counts: how many paths each class has; without any, the last layer tells the classes apart.

        Raises:
            ValueError: so many counts are not of so many classes.
        """
        super().__init__()
        if path_counts and len(path_counts) != classes:
            raise ValueError(
                f"found a head of {len(path_counts)} categories; expected one of {classes}: its weights "
                "and its labels are not of one training"
            )
        self.dimension, self.classes = hidden or features, classes
        self._path_counts, answers = list(path_counts), sum(path_counts) or classes
        if path_counts:
            # With the weights, so that whoever reads them knows.
            self.register_buffer("path_counts", torch.tensor(self._path_counts))
        self.dropout = torch.nn.Dropout(0.0)
        self.fc = (
            torch.nn.Sequential(
                torch.nn.Linear(features, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, answers)
            )
            if hidden
            else torch.nn.Linear(features, answers)
        )

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Give what the classifier sees: float32, (n, dimension)."""
        if isinstance(self.fc, torch.nn.Sequential):
            hidden: torch.Tensor = self.fc[1](self.fc[0](features))
            return hidden
        return normalize(features, dim=1) * SCALE

    def tell_apart(self, embedded: torch.Tensor) -> torch.Tensor:
        """Give the logits of the paths, or of the classes where these have none, of what was embedded."""
        layer = self.fc[2] if isinstance(self.fc, torch.nn.Sequential) else self.fc
        logits: torch.Tensor = layer(self.dropout(embedded))
        return logits

    def of_classes(self, told_apart: torch.Tensor) -> torch.Tensor:
        """Give the logits of the classes: of each, all of its paths together."""
        if not self._path_counts:
            return told_apart
        of_each = torch.split(told_apart, self._path_counts, dim=1)
        return torch.stack([logits.logsumexp(dim=1) for logits in of_each], dim=1)

    def classify(self, embedded: torch.Tensor) -> torch.Tensor:
        """Give the logits of the classes of what :meth:`embed` gave."""
        return self.of_classes(self.tell_apart(embedded).float())

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give the logits, float32 (n, classes) and not calibrated, of pooled features."""
        return self.classify(self.embed(features))


class Network(torch.nn.Module):
    """A backbone, ``trunk``, whose children are its blocks and the pooling, and a ``head``."""

    def __init__(
        self, parameters: VisionParameters, classes: int, path_counts: Sequence[int] = ()
    ) -> None:
        """Build the backbone with its weights, and a head with random ones."""
        super().__init__()
        backbone = BACKBONES[parameters.backbone]
        self._side = parameters.input_side
        self._mean, self._std = backbone.mean, backbone.std
        self.trunk = build_backbone(parameters)
        self.head = make_head(parameters, classes, path_counts)

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Bring uint8 (n, 256, 256, 3) to the side and the scale that the backbone expects."""
        scaled = self.scale(pixels)
        if self._side == SIDE:
            return scaled
        return interpolate(
            scaled, size=(self._side, self._side), mode="bilinear", align_corners=False
        )

    def scale(self, pixels: torch.Tensor) -> torch.Tensor:
        """Bring uint8 (n, side, side, 3) to float32 (n, 3, side, side) on the backbone's scale."""
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (self._mean, self._std)
        )
        return (pixels.permute(0, 3, 1, 2).to(torch.float32) / 255 - mean) / std

    def blocks(self, trained: int) -> tuple[list[torch.nn.Module], list[torch.nn.Module]]:
        """Part the blocks into the frozen and the last so many; -1: none is frozen.

        The pooling, which has nothing to train, is with the last.
        """
        every = list(self.trunk)
        cut = 0 if trained < 0 else max(0, len(every) - 1 - trained)
        return every[:cut], every[cut:]

    def maps(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Give what each block makes of canonical photos, by its name; ``pool`` is (n, features)."""
        made, photos = {}, self.prepare(pixels)
        for name, block in self.trunk.named_children():
            photos = made[name] = block(photos)
        return made

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give the logits of canonical photos, uint8 (n, 256, 256, 3)."""
        logits: torch.Tensor = self.head(self.trunk(self.prepare(pixels)))
        return logits


def make_head(
    parameters: VisionParameters,
    classes: int,
    path_counts: Sequence[int] = (),
    hidden: int | None = None,
) -> HeadWeights:
    """Make the head that belongs to a backbone; torch's seed says which random weights.

    Args:
        parameters: the backbone.
        classes: how many there are.
        path_counts: how many paths each class has.
        hidden: width of a hidden layer; without it, as the backbone has it.
    """
    backbone = BACKBONES[parameters.backbone]
    width = backbone.hidden if hidden is None else hidden
    return HeadWeights(backbone.features, width, classes, path_counts)


def make_network(
    parameters: VisionParameters, classes: int, path_counts: Sequence[int] = ()
) -> Network:
    """Make a network, its backbone with the weights asked for; random ones come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        return Network(parameters, classes, path_counts).eval()


def load_network(
    parameters: VisionParameters, classes: int, weights: dict[str, torch.Tensor]
) -> Network:
    """Build a network and load all of its weights; those of the backbone's source are not asked for."""
    bare = parameters.model_copy(update={"weights": "none", "weights_sha256": None})
    network = make_network(bare, classes, path_counts_from_state(weights, "head.path_counts"))
    network.load_state_dict(weights)
    return network.eval()


def load_trained_network(weights: bytes, classes: int, parameters: VisionParameters) -> Network:
    """Build a network from its weights, safetensors."""
    from safetensors.torch import load

    return load_network(parameters, classes, load(weights))


def path_counts_from_state(
    weights: dict[str, torch.Tensor], name: str = "path_counts"
) -> tuple[int, ...]:
    """Read how many paths each class has from the weights of a head; empty where it tells none apart."""
    return tuple(weights[name].tolist()) if name in weights else ()


def hidden_width(weights: dict[str, torch.Tensor]) -> int:
    """Read how wide the hidden layer is from the weights of a head; 0 where there is none."""
    return len(weights["fc.0.weight"]) if "fc.0.weight" in weights else 0


def network_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Give what a network has learned, by name, each tensor apart in memory."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
    }
