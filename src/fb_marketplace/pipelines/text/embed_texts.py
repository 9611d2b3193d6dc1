"""Text embeddings of listings, from the served sentence encoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.compute.shards import PerProcess, map_shards
from fb_marketplace.ml.batch_inference import to_lists
from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest, table_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys, make_keys
from fb_marketplace.storage.table_writer import table_sink
from fb_marketplace_serving.encoders.text import TextEncoder

REVISION: Final = 1
LIBRARIES: Final = ("onnxruntime", "tokenizers")


@dataclass(frozen=True, slots=True)
class TextKeys:
    """Keys of the vectors that the run needs, and of those in the table when the run started.

    Attributes:
        product_ids: the listings, sorted.
        keys: key of each listing's vector.
        existing: keys in the table.
    """

    product_ids: tuple[str, ...]
    keys: KeyArray
    existing: Keys


def plan_text_embeddings(
    products: pd.DataFrame,
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_embeddings_existing_keys: Keys,
) -> TextKeys:
    """Compute the key of each listing's vector from everything that the vector depends on.

    Args:
        products: the listings.
        sentence_encoder: the encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_embeddings_existing_keys: keys in the table.
    """
    encoder = make_key(sha256(sentence_encoder.read()), sha256(text_tokenizer.read()))
    stage = stage_digest("text_embeddings", REVISION, libraries=LIBRARIES)
    ordered = products.sort_values("product_id")
    ids = ordered["product_id"].to_list()
    keys = make_keys(zip(ids, listing_text(ordered), strict=True), encoder, stage)
    return TextKeys(tuple(ids), keys, text_embeddings_existing_keys)


def embed_texts(
    products: pd.DataFrame,
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_keys: TextKeys,
    parameters: TextEncoderParameters,
) -> Iterator[Rows | KeepOnly]:
    """Encode the texts whose vectors the table lacks.

    Args:
        products: the listings.
        sentence_encoder: the encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_keys: needed and existing keys.
        parameters: texts per shard.

    Yields:
        For the table ``text_embeddings``: the keys to keep, then batches of new rows.
    """
    import pyarrow as pa

    keys, existing = text_keys.keys, text_keys.existing
    yield KeepOnly(keys, existing)
    missing = np.flatnonzero(~Keys(existing).contains(keys))
    if not len(missing):
        return
    texts = listing_text(products.sort_values("product_id"))
    files = sentence_encoder.pinned(), text_tokenizer.pinned()
    encode = partial(_encode_shard, encoder=PerProcess(partial(_open_encoder, *files)))
    size = parameters.texts_per_shard
    shards = (
        pa.table(
            {
                "key": keys.take(pa.array(rows)),
                "product_id": [text_keys.product_ids[row] for row in rows],
                "text": [texts[row] for row in rows],
            }
        )
        for rows in np.split(missing, range(size, len(missing), size))
    )
    with Progress("texts encoded", len(keys), len(keys) - len(missing)) as progress:
        for rows in map_shards(encode, shards, table_sink(existing), threads=True):
            progress.advance(len(rows))
            yield rows


def _open_encoder(graph: FileRef, tokenizer: FileRef) -> TextEncoder:
    return TextEncoder.from_bytes(graph.read(), tokenizer.read())


def _encode_shard(shard: Rows, encoder: PerProcess[TextEncoder]) -> Rows:
    from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS

    # One text per call: a vector must not depend on its batch.
    vectors = [encoder.get().encode([text]).text_embedding[0] for text in shard["text"].to_pylist()]
    rows = shard.append_column("embedding", to_lists(np.stack(vectors)))
    return rows.select(TEXT_EMBEDDINGS.names).cast(TEXT_EMBEDDINGS)


def report_text_embeddings(text_keys: TextKeys, text_embeddings: Table) -> dict[str, Any]:
    """Return the numbers of encoded, reused and removed texts, and a digest of the table."""
    needed, existing = Keys(text_keys.keys), text_keys.existing
    return {
        "texts": len(text_embeddings),
        "encoded": len(needed - existing),
        "reused": len(needed & existing),
        "removed": len(existing - needed),
        "digest": table_digest(text_embeddings, "product_id", ["product_id"], ["embedding"]),
    }
