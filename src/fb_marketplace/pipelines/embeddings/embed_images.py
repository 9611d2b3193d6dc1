"""A vector for each photo, through the very encoder that is served."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest, table_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table

REVISION: Final = 1
LIBRARIES: Final = ("onnxruntime", "pillow")
"""What decodes a photo and runs the graph; another version may give another last digit."""


@dataclass(frozen=True, slots=True)
class EmbeddingKeys:
    """Which vectors are wanted, and which the table had when the run began.

    Attributes:
        encoder_sha256: digest of the encoder.
        wanted: the key of each photo's vector, by position in the table ``images``.
        held: the keys that the table had.
    """

    encoder_sha256: str
    wanted: tuple[str, ...]
    held: frozenset[str]


def plan_image_embeddings(
    images: Table, encoder: FileRef, image_embeddings_existing_keys: frozenset[str]
) -> EmbeddingKeys:
    """Name the vector of each photo by all that it depends on.

    Args:
        images: the canonical photos.
        encoder: the encoder, ONNX.
        image_embeddings_existing_keys: keys that the table has.
    """
    digest = sha256(encoder.read())
    stage = stage_digest("embeddings", REVISION, libraries=LIBRARIES)
    photos = images.read(["image_id", "sha256"]).to_pylist()
    wanted = (make_key(photo["image_id"], photo["sha256"], digest, stage) for photo in photos)
    return EmbeddingKeys(digest, tuple(wanted), image_embeddings_existing_keys)


def embed_images(
    images: Table,
    encoder: FileRef,
    embedding_keys: EmbeddingKeys,
    parameters: EmbeddingParameters,
) -> Iterator[Rows | KeepOnly]:
    """Encode the photos whose vectors by this encoder the table lacks.

    Args:
        images: the canonical photos.
        encoder: the encoder, ONNX.
        embedding_keys: what is wanted, and what the table has of it.
        parameters: batches.

    Yields:
        For the table ``image_embeddings``: what to retain, then batches of new rows.
    """
    from fb_marketplace.ml.batch_inference import encode_missing, open_encoder

    keys, held = embedding_keys.wanted, embedding_keys.held
    yield KeepOnly(frozenset(keys), held)
    photos = images.read(["image_id", "sha256"]).to_pylist()
    for batch in encode_missing(
        lambda: open_encoder(encoder.read()),
        images,
        keys,
        held,
        parameters.photos_per_batch,
        parameters.rows_per_commit,
    ):
        yield _table(
            [
                {
                    "key": keys[row],
                    "image_id": photos[row]["image_id"],
                    "image_sha256": photos[row]["sha256"],
                    "encoder_sha256": embedding_keys.encoder_sha256,
                    "probabilities": probabilities,
                    "embedding": embedding,
                }
                for row, probabilities, embedding in batch
            ]
        )


def report_embeddings(embedding_keys: EmbeddingKeys, image_embeddings: Table) -> dict[str, Any]:
    """Say what the run encoded, what it found and what it removed, and what the table holds now.

    Returns:
        Counts of photos, the size of a vector, the digest of the encoder, and that of the table's content,
        on which two lakes agree if they hold the same vectors of the same photos.
    """
    wanted, held = frozenset(embedding_keys.wanted), embedding_keys.held
    some = image_embeddings.vectors([0], "embedding") if wanted else None
    return {
        "photos": len(image_embeddings),
        "encoded": len(wanted - held),
        "reused": len(wanted & held),
        "removed": len(held - wanted),
        "dimension": 0 if some is None else some.shape[1],
        "encoder_sha256": embedding_keys.encoder_sha256,
        "digest": table_digest(
            image_embeddings,
            "image_id",
            ["image_id", "image_sha256", "encoder_sha256"],
            ["probabilities", "embedding"],
        ),
    }


def _table(rows: list[dict[str, object]]) -> Rows:
    import pyarrow as pa

    from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS

    return pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS)
