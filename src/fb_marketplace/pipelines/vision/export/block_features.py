"""Pooled features of the trained network's last blocks, cached by the content of photos and weights."""

from collections.abc import Iterator
from typing import Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.data.task import num_classes
from fb_marketplace.pipelines.vision.export.backbone_features import (
    LIBRARIES,
    extract_features,
)
from fb_marketplace.pipelines.vision.export.onnx_export import export_blocks
from fb_marketplace.pipelines.vision.models.backbones import (
    get_backbone,
    origin_of_weights,
    second_backbone,
)
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import Keys

REVISION: Final = 2


def extract_block_features(
    images: Table,
    block_features_existing_keys: Keys,
    vision_model: FileRef,
    vision_labels: list[str] | Skipped,
    parameters: VisionParameters,
) -> Iterator[Rows | KeepOnly]:
    """Compute the pooled blocks of photos that the table lacks.

    Args:
        images: the canonical photos.
        block_features_existing_keys: keys in the table.
        vision_model: the trained network.
        vision_labels: names of its classes.
        parameters: number of blocks, and their pooling.

    Yields:
        For the table ``block_features``: the keys to keep, then batches of new rows.
    """
    from safetensors.torch import load, save

    from fb_marketplace.pipelines.vision.models.embedding_head import make_second_backbone
    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    content, config = vision_model.read(), parameters.embedding
    stage = stage_digest(
        f"{config.num_blocks} blocks {config.gem_p}", REVISION, libraries=LIBRARIES
    )
    # Without the head, which often changes alone, and the file's metadata with the code revision.
    trunk = {name: value for name, value in load(content).items() if name.startswith("trunk.")}
    weights = sha256(save(trunk))
    network_key = make_key(weights, parameters.backbone, get_backbone(parameters).side, stage)
    if second := second_backbone(parameters):
        side = get_backbone(second).side
        network_key = make_key(network_key, second.backbone, side, origin_of_weights(second))

    def export() -> bytes:
        network = load_trained_network(content, num_classes(vision_labels), parameters)
        second = make_second_backbone(parameters)
        return export_blocks(network, config.num_blocks, config.gem_p, second)

    yield from extract_features(export, images, [network_key], block_features_existing_keys)
