"""The frozen backbone's features of every photo, kept by content so that they are made once."""

from collections.abc import Iterator
from typing import Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.export.onnx_export import export_trunk
from fb_marketplace.pipelines.vision.models.backbones import origin_of_weights
from fb_marketplace.storage.fingerprints import make_key, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace_serving.encoders.image import Encoder

REVISION: Final = 2
PHOTOS_PER_BATCH: Final = 8
ROWS_PER_COMMIT: Final = 1024


def extract_backbone_features(
    images: Table, vision_features_existing_keys: frozenset[str], parameters: VisionParameters
) -> Iterator[Rows | KeepOnly]:
    """Take the frozen backbone's features of the photos whose features the table lacks.

    Args:
        images: the canonical photos.
        vision_features_existing_keys: keys that the table has.
        parameters: the backbone.

    Yields:
        For the table ``vision_features``: what to retain, then batches of new rows.
    """
    from fb_marketplace.ml.batch_inference import encode_missing, open_encoder

    told = [parameters.backbone, origin_of_weights(parameters), parameters.input_side]
    stage = stage_digest(
        " ".join(map(str, told)),
        REVISION,
        None,
        ["timm", "torch", "torchvision", "onnxscript", "onnxruntime"],
    )
    photos = images.read(["image_id", "sha256"]).to_pylist()
    keys = [make_key(photo["image_id"], photo["sha256"], stage) for photo in photos]
    yield KeepOnly(frozenset(keys), vision_features_existing_keys)

    def headless() -> Encoder:
        return open_encoder(export_trunk(parameters))

    for batch in encode_missing(
        headless, images, keys, vision_features_existing_keys, PHOTOS_PER_BATCH, ROWS_PER_COMMIT
    ):
        yield feature_table(
            [
                {"key": keys[row], "image_id": photos[row]["image_id"], "features": features}
                for row, _, features in batch
            ]
        )


def feature_table(rows: list[dict[str, object]]) -> Rows:
    """Make rows of ``key``, ``image_id`` and ``features`` into a table."""
    import pyarrow as pa

    from fb_marketplace.schemas.lance import VISION_FEATURES

    return pa.Table.from_pylist(rows, schema=VISION_FEATURES)
