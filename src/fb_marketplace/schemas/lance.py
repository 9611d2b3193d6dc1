"""Schemas of the Lance tables. The key of a row is a digest of everything that it depends on."""

import pyarrow as pa

_SOURCE = [
    pa.field("key", pa.string(), nullable=False),
    pa.field("image_id", pa.string(), nullable=False),
    pa.field("product_id", pa.string(), nullable=False),
    pa.field("source_key", pa.string(), nullable=False),
    pa.field("source_etag", pa.string(), nullable=False),
    pa.field("source_size", pa.int64(), nullable=False),
]

IMAGES = pa.schema(
    [
        *_SOURCE,
        pa.field("source_sha256", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int64(), nullable=False),
        pa.field("height", pa.int64(), nullable=False),
        pa.field("jpeg", pa.large_binary(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("perceptual_hash", pa.list_(pa.uint64()), nullable=False),
    ]
)

DISPLAY_PHOTOS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        # Null if the uploaded file is the canonical photo.
        pa.field("jpeg", pa.large_binary()),
        pa.field("sha256", pa.string()),
    ]
)

REJECTED_PHOTOS = pa.schema(
    [
        *_SOURCE,
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("head", pa.large_binary(), nullable=False),
    ]
)

VISION_FEATURES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("features", pa.list_(pa.float32()), nullable=False),
    ]
)

IMAGE_EMBEDDINGS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("image_sha256", pa.string(), nullable=False),
        pa.field("encoder_sha256", pa.string(), nullable=False),
        pa.field("probabilities", pa.list_(pa.float32()), nullable=False),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
    ]
)

TEXT_EMBEDDINGS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False),
    ]
)
