"""Image embeddings: one vector per photo, computed by the served encoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256, stage_digest, table_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys, iterate_rows, make_keys

REVISION: Final = 2
LIBRARIES: Final = ("onnxruntime", "pillow")
"""Libraries that decode photos and run the graph; another version may change the last digits of vectors."""


@dataclass(frozen=True, slots=True)
class EmbeddingKeys:
    """Keys of the required rows, and of the rows before the run.

    Attributes:
        encoder_sha256: digest of the encoder.
        required: the key of each photo's row, by position in the table ``images``.
        existing: keys in the table before the run.
    """

    encoder_sha256: str
    required: KeyArray
    existing: Keys


def plan_image_embeddings(
    images: Table, encoder: FileRef, image_embeddings_existing_keys: Keys
) -> EmbeddingKeys:
    """Compute the key of each photo's row from all inputs of its embedding.

    Args:
        images: the canonical photos.
        encoder: the served encoder, an ONNX file.
        image_embeddings_existing_keys: keys in the table ``image_embeddings``.
    """
    digest = sha256(encoder.read())
    stage = stage_digest("embeddings", REVISION, libraries=LIBRARIES)
    photos = iterate_rows(images.read(["image_id", "sha256"]))
    return EmbeddingKeys(digest, make_keys(photos, digest, stage), image_embeddings_existing_keys)


def embed_images(
    images: Table,
    encoder: FileRef,
    embedding_keys: EmbeddingKeys,
    parameters: EmbeddingParameters,
) -> Iterator[Rows | KeepOnly]:
    """Encode the photos that the table lacks.

    Args:
        images: the canonical photos.
        encoder: the served encoder, an ONNX file.
        embedding_keys: keys of required and existing rows.
        parameters: batch sizes.

    Yields:
        For the table ``image_embeddings``: the keys to keep, then batches of new rows.
    """
    from fb_marketplace.ml.batch_inference import encode_missing

    keys, existing = embedding_keys.required, embedding_keys.existing
    yield KeepOnly(keys, existing)
    yield from encode_missing(
        encoder.pinned,
        images,
        keys,
        existing,
        partial(_embedding_rows, encoder_sha256=embedding_keys.encoder_sha256),
        parameters.photos_per_batch,
        parameters.photos_per_shard,
    )


def _embedding_rows(encoded: Rows, encoder_sha256: str) -> Rows:
    import pyarrow as pa

    from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS

    encoder = pa.array([encoder_sha256] * len(encoded))
    rows = encoded.rename_columns({"sha256": "image_sha256"})
    rows = rows.append_column("encoder_sha256", encoder)
    return rows.select(IMAGE_EMBEDDINGS.names).cast(IMAGE_EMBEDDINGS)


def report_embeddings(embedding_keys: EmbeddingKeys, image_embeddings: Table) -> dict[str, Any]:
    """Count the photos that the run encoded, reused and removed.

    Returns:
        Counts of photos, the dimension, the digest of the encoder, and the digest of the table's content,
        which is equal for two lakes with the same vectors of the same photos.
    """
    required, existing = Keys(embedding_keys.required), embedding_keys.existing
    first = image_embeddings.vectors([0], "embedding") if len(required) else None
    return {
        "photos": len(image_embeddings),
        "encoded": len(required - existing),
        "reused": len(required & existing),
        "removed": len(existing - required),
        "dimension": 0 if first is None else first.shape[1],
        "encoder_sha256": embedding_keys.encoder_sha256,
        "digest": table_digest(
            image_embeddings,
            "image_id",
            ["image_id", "image_sha256", "encoder_sha256"],
            ["probabilities", "embedding"],
        ),
    }
