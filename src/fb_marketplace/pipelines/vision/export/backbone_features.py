"""Features of the frozen backbone, cached by the content of photos."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.export.onnx_export import export_trunk
from fb_marketplace.pipelines.vision.models.backbones import (
    check_second_backbone,
    get_backbone,
    origin_of_weights,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.fingerprints import stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import Keys, iterate_rows, make_keys

REVISION: Final = 3
LIBRARIES: Final = ("timm", "torch", "torchvision", "onnxscript", "onnxruntime", "pillow")
"""Libraries that build, export and run a network; another version may change features."""


def extract_backbone_features(
    images: Table, vision_features_existing_keys: Keys, parameters: VisionParameters
) -> Iterator[Rows | KeepOnly]:
    """Compute the features of photos that the table lacks.

    Args:
        images: the canonical photos.
        vision_features_existing_keys: keys in the table.
        parameters: the backbone.

    Yields:
        For the table ``vision_features``: the keys to keep, then batches of new rows.

    Raises:
        InsufficientDataError: there are no photos.
        UserError: the backbone, or the second one of the embedding, is not available.
    """
    if not len(images):
        raise InsufficientDataError("there are no photos")
    # The second one is first used after the training, which may take hours.
    check_second_backbone(parameters)
    backbone = [parameters.backbone, origin_of_weights(parameters), get_backbone(parameters).side]
    stage = stage_digest(" ".join(map(str, backbone)), REVISION, libraries=LIBRARIES)
    yield from extract_features(
        lambda: export_trunk(parameters), images, [stage], vision_features_existing_keys
    )


def extract_features(
    export: Callable[[], bytes],
    images: Table,
    key_parts: Sequence[str],
    existing_keys: Keys,
) -> Iterator[Rows | KeepOnly]:
    """Compute the embeddings of an ONNX encoder for photos that a table of features lacks.

    Args:
        export: builds the encoder; called only if a photo is missing.
        images: the canonical photos.
        key_parts: further parts of the key, after the photo.
        existing_keys: keys in the table.

    Yields:
        The keys to keep, then batches of new rows: ``key``, ``image_id`` and ``features``.
    """
    from fb_marketplace.ml.batch_inference import encode_missing

    keys = make_keys(iterate_rows(images.read(["image_id", "sha256"])), *key_parts)
    yield KeepOnly(keys, existing_keys)
    yield from encode_missing(export, images, keys, existing_keys, _feature_rows)


def _feature_rows(encoded: Rows) -> Rows:
    from fb_marketplace.schemas.lance import VISION_FEATURES

    rows = encoded.rename_columns({"embedding": "features"})
    return rows.select(VISION_FEATURES.names).cast(VISION_FEATURES)
