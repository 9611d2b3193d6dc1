"""A vector for the text of each listing, through the very encoder that is served."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from fb_marketplace.compute.parallel import available_cores
from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest, table_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace_serving.encoders.text import TextEncoder

REVISION: Final = 1
LIBRARIES: Final = ("onnxruntime", "tokenizers")


@dataclass(frozen=True, slots=True)
class TextKeys:
    """Which vectors are wanted, and which the table had when the run began.

    Attributes:
        product_ids: the listings, sorted.
        wanted: the key of each one's vector.
        held: the keys that the table had.
    """

    product_ids: tuple[str, ...]
    wanted: tuple[str, ...]
    held: frozenset[str]


def plan_text_embeddings(
    products: pd.DataFrame,
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_embeddings_existing_keys: frozenset[str],
) -> TextKeys:
    """Name the vector of each listing's text by all that it depends on.

    Args:
        products: the listings.
        sentence_encoder: the encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_embeddings_existing_keys: keys that the table has.
    """
    encoder = make_key(sha256(sentence_encoder.read()), sha256(text_tokenizer.read()))
    stage = stage_digest("text_embeddings", REVISION, libraries=LIBRARIES)
    ordered = products.sort_values("product_id")
    ids = ordered["product_id"].to_list()
    wanted = (
        make_key(product, text, encoder, stage)
        for product, text in zip(ids, listing_text(ordered), strict=True)
    )
    return TextKeys(tuple(ids), tuple(wanted), text_embeddings_existing_keys)


def embed_texts(
    products: pd.DataFrame,
    sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    text_keys: TextKeys,
    parameters: TextEncoderParameters,
) -> Iterator[Rows | KeepOnly]:
    """Encode the texts whose vectors by this encoder the table lacks.

    Args:
        products: the listings.
        sentence_encoder: the encoder, ONNX.
        text_tokenizer: its tokenizer.
        text_keys: what is wanted, and what the table has of it.
        parameters: how many rows are committed at once.

    Yields:
        For the table ``text_embeddings``: what to retain, then batches of new rows.
    """
    import pyarrow as pa

    from fb_marketplace.schemas.lance import TEXT_EMBEDDINGS

    keys, held = text_keys.wanted, text_keys.held
    yield KeepOnly(frozenset(keys), held)
    missing = [place for place, key in enumerate(keys) if key not in held]
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
            # Each alone, on a core of its own.
            found = pool.map(lambda place: encoder.encode([texts[place]]).meaning[0], part)
            rows = []
            for place, meaning in zip(part, found, strict=True):
                rows.append(
                    {
                        "key": keys[place],
                        "product_id": text_keys.product_ids[place],
                        "meaning": meaning,
                    }
                )
                progress.advance(1)
            yield pa.Table.from_pylist(rows, schema=TEXT_EMBEDDINGS)


def report_text_embeddings(text_keys: TextKeys, text_embeddings: Table) -> dict[str, Any]:
    """Say how many texts the run encoded, found and removed, and what the table holds now."""
    wanted, held = frozenset(text_keys.wanted), text_keys.held
    return {
        "texts": len(text_embeddings),
        "encoded": len(wanted - held),
        "reused": len(wanted & held),
        "removed": len(held - wanted),
        "digest": table_digest(text_embeddings, "product_id", ["product_id"], ["meaning"]),
    }
