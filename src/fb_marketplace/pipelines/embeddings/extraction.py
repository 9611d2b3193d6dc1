"""A vector for each photo, through the very encoder that is served."""

from collections.abc import Iterator

from fb_marketplace.digests import key_of, sha256
from fb_marketplace.parameters import EmbeddingParameters
from fb_marketplace.stored_file import StoredFile
from fb_marketplace.tables import Retain, Rows, Table


def embed(
    images: Table,
    encoder: StoredFile,
    image_embeddings_held: frozenset[str],
    parameters: EmbeddingParameters,
) -> Iterator[Rows | Retain]:
    """Encode the photos whose vectors by this encoder the table lacks.

    Args:
        images: the canonical photos.
        encoder: the encoder, ONNX.
        image_embeddings_held: keys that the table has.
        parameters: batches.

    Yields:
        For the table ``image_embeddings``: what to retain, then batches of new rows.
    """
    from fb_marketplace.encoding import encode_missing, open_encoder

    graph = encoder.read()
    digest = sha256(graph)
    photos = images.read(["image_id", "sha256"]).to_pylist()
    keys = [key_of(photo["image_id"], photo["sha256"], digest) for photo in photos]
    yield Retain(frozenset(keys), image_embeddings_held)
    for batch in encode_missing(
        lambda: open_encoder(graph),
        images,
        keys,
        image_embeddings_held,
        parameters.photos_per_batch,
        parameters.rows_per_commit,
    ):
        yield _table(
            [
                {
                    "key": keys[row],
                    "image_id": photos[row]["image_id"],
                    "image_sha256": photos[row]["sha256"],
                    "encoder_sha256": digest,
                    "probabilities": probabilities,
                    "embedding": embedding,
                }
                for row, probabilities, embedding in batch
            ]
        )


def _table(rows: list[dict[str, object]]) -> Rows:
    import pyarrow as pa

    from fb_marketplace.lance_schemas import IMAGE_EMBEDDINGS

    return pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS)
