"""A vector for each photo, through the very encoder that is served."""

from collections.abc import Iterator

from fb_marketplace.digests import key_of
from fb_marketplace.parameters import EmbeddingParameters
from fb_marketplace.progress import Progress
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
    from fb_marketplace.encoding import encode_rows, open_encoder

    graph, digest = encoder.read(), encoder.sha256()
    photos = images.read(["image_id", "sha256"]).to_pylist()
    keys = [key_of(photo["image_id"], photo["sha256"], digest) for photo in photos]
    yield Retain(frozenset(keys))
    new = [int(row) for row in images.order("image_id") if keys[row] not in image_embeddings_held]
    if not new:
        return
    waiting: list[dict[str, object]] = []
    with Progress("photos encoded", len(photos), len(photos) - len(new)) as progress:
        for rows, encoding in encode_rows(
            open_encoder(graph), images, new, parameters.photos_per_batch
        ):
            for row, probabilities, embedding in zip(rows, *encoding, strict=True):
                photo = photos[row]
                waiting.append(
                    {
                        "key": keys[row],
                        "image_id": photo["image_id"],
                        "image_sha256": photo["sha256"],
                        "encoder_sha256": digest,
                        "probabilities": probabilities,
                        "embedding": embedding,
                    }
                )
            progress.advance(len(rows))
            if len(waiting) >= parameters.rows_per_commit:
                yield _table(waiting)
                waiting = []
        if waiting:
            yield _table(waiting)


def _table(rows: list[dict[str, object]]) -> Rows:
    import pyarrow as pa

    from fb_marketplace.lance_schemas import IMAGE_EMBEDDINGS

    return pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS)
