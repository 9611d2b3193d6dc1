"""Pooled levels of the trained network, of every photo, kept by content so that they are made once."""

from collections.abc import Iterator
from typing import Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.export.backbone_features import (
    PHOTOS_PER_BATCH,
    ROWS_PER_COMMIT,
    feature_table,
)
from fb_marketplace.pipelines.vision.export.onnx_export import export_blocks
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace_serving.encoders.image import Encoder

REVISION: Final = 1


def extract_block_features(
    images: Table,
    block_features_existing_keys: frozenset[str],
    vision_model: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> Iterator[Rows | KeepOnly]:
    """Take the pooled levels of the photos whose levels by this model the table lacks.

    Args:
        images: the canonical photos.
        block_features_existing_keys: keys that the table has.
        vision_model: the trained network.
        vision_labels: its classes.
        parameters: which levels.

    Yields:
        For the table ``block_features``: what to retain, then batches of new rows.
    """
    from safetensors.torch import load, save

    from fb_marketplace.ml.batch_inference import encode_missing, open_encoder
    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    weights, told = vision_model.read(), parameters.embedding
    stage = stage_digest(
        f"{told.levels} levels {told.power}", REVISION, None, ["onnxscript", "onnxruntime"]
    )
    photos = images.read(["image_id", "sha256"]).to_pylist()
    # Its card names the revision of the code too, by which the levels do not change.
    of_weights = sha256(save(load(weights)))
    network = make_key(of_weights, parameters.backbone, parameters.input_side, stage)
    keys = [make_key(photo["image_id"], photo["sha256"], network) for photo in photos]
    yield KeepOnly(frozenset(keys), block_features_existing_keys)

    def headless() -> Encoder:
        network = load_trained_network(weights, len(vision_labels), parameters)
        return open_encoder(export_blocks(network, told.levels, told.power))

    for batch in encode_missing(
        headless, images, keys, block_features_existing_keys, PHOTOS_PER_BATCH, ROWS_PER_COMMIT
    ):
        yield feature_table(
            [
                {"key": keys[row], "image_id": photos[row]["image_id"], "features": features}
                for row, _, features in batch
            ]
        )
