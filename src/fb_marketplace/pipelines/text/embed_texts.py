"""Text embeddings of listings, from the served sentence encoder."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.compute.parallel import available_cores
from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest, table_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys, make_keys
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
        parameters: rows per commit.

    Yields:
        For the table ``text_embeddings``: the keys to keep, then batches of new rows.
    """
    import pyarrow as pa

    from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS

    keys, existing = text_keys.keys, text_keys.existing
    yield KeepOnly(keys, existing)
    missing = np.flatnonzero(~Keys(existing).contains(keys)).tolist()
    if not missing:
        return
    texts = listing_text(products.sort_values("product_id"))
    encoder = TextEncoder.from_bytes(sentence_encoder.read(), text_tokenizer.read())
    size = parameters.rows_per_commit
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        Progress("texts encoded", len(keys), len(keys) - len(missing)) as progress,
    ):
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            # One text per call, one call per core: a vector must not depend on its batch.
            vectors = pool.map(lambda row: encoder.encode([texts[row]]).text_embedding[0], part)
            rows = []
            for row, vector in zip(part, vectors, strict=True):
                rows.append(
                    {
                        "key": keys[row].as_py(),
                        "product_id": text_keys.product_ids[row],
                        "embedding": vector,
                    }
                )
                progress.advance(1)
            yield pa.Table.from_pylist(rows, schema=TEXT_EMBEDDINGS)


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
