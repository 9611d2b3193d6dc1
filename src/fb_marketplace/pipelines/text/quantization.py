"""Precision of text encoders: int8 if titles find listings, or their photos, as well as with fp32."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.observability.log_filters import suppress_warnings
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace.storage.vectors import read_vectors
from fb_marketplace_serving.encoders.text import TextEncoder, TextTower

DEPTH: Final = 10

MAX_RECALL_DROP: Final = 0.01
"""Maximum drop in Recall@10 by int8; compared with the upper end of the drop's 95 % interval."""

_Z_95: Final = 1.96


class SelectedPrecision(NamedTuple):
    """The served encoder, ONNX, and a card that describes the selection."""

    onnx: bytes
    card: dict[str, Any]


class SearchResult(NamedTuple):
    """Result of a search by each title: whether it has a hit, bool, (n,); and vectors of texts."""

    hits: NDArray[np.bool_]
    vectors: NDArray[np.float32]


def select_precision(
    sentence_encoder_fp32: FileRef,
    text_tokenizer: FileRef,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: TextEncoderParameters,
) -> SelectedPrecision:
    """Return the encoder in the configured precision; ``auto`` selects int8 if its recall is good enough.

    Args:
        sentence_encoder_fp32: the fp32 encoder, ONNX.
        text_tokenizer: its tokenizer.
        products: the listings.
        splits: split of each listing; both encoders are compared on validation.
        parameters: the precision, and the number of listings to compare on.

    Returns:
        The encoder, ONNX; and a card with the size of each precision in bytes. For ``auto`` also Recall@10
        (the share of short titles with their own listing's text among the ten nearest), the upper bound of
        its drop, and the lowest cosine between the two vectors of a text. Without a validation listing,
        fp32 is selected.
    """
    validation = set(splits.loc[splits["split"] == "validation", "product_id"])
    listed = products[products["product_id"].isin(validation)].sort_values("product_id")
    listed = listed.head(parameters.precision_texts)
    tokenizer = text_tokenizer.read()

    def search(graph: bytes) -> SearchResult:
        encoder = TextEncoder.from_bytes(graph, tokenizer)
        encoded = encoder.encode(listing_text(listed)).text_embedding
        titles = encoder.encode([shorten_title(title) for title in listed["title"]]).text_embedding
        return SearchResult(_own_text_is_hit(titles, encoded), encoded)

    return _select(sentence_encoder_fp32.read(), parameters, len(listed), search)


def select_dual_precision(
    dual_text_encoder_fp32: FileRef,
    dual_tokenizer: FileRef,
    dual_image_embeddings: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: TextEncoderParameters,
) -> SelectedPrecision:
    """Return the text tower of the dual encoder in the configured precision.

    Args:
        dual_text_encoder_fp32: the fp32 tower, ONNX.
        dual_tokenizer: its tokenizer.
        dual_image_embeddings: vectors of photos.
        products: the listings.
        splits: split of each photo; both towers are compared on validation.
        parameters: the precision, and the number of listings to compare on.

    Returns:
        The tower, ONNX; and a card, see :func:`select_precision`. Recall@10 is the share of titles with a
        photo of their listing among the ten nearest.
    """
    known = dual_image_embeddings.read(["image_id"]).column("image_id").to_pylist()
    rows = splits[(splits["split"] == "validation") & splits["image_id"].isin(set(known))]
    listed = products[products["product_id"].isin(set(rows["product_id"]))]
    listed = listed.sort_values("product_id").head(parameters.precision_texts)
    positions = {name: row for row, name in enumerate(listed["product_id"])}
    rows = rows[rows["product_id"].isin(positions)].sort_values("image_id")
    photos = read_vectors(
        dual_image_embeddings, "image_id", "features", set(rows["image_id"])
    ).matrix
    owners = rows["product_id"].map(positions).to_numpy(np.int64)
    tokenizer = dual_tokenizer.read()

    def search(graph: bytes) -> SearchResult:
        tower = TextTower.from_bytes(graph, tokenizer)
        titles = np.stack([tower.encode(title) for title in listed["title"]])
        return SearchResult(_own_photo_is_hit(titles, photos, owners), titles)

    return _select(dual_text_encoder_fp32.read(), parameters, len(listed), search)


def _select(
    exact: bytes,
    parameters: TextEncoderParameters,
    searches: int,
    search: Callable[[bytes], SearchResult],
) -> SelectedPrecision:
    if parameters.precision == "fp32":
        return SelectedPrecision(exact, {"precision": "fp32", "bytes": {"fp32": len(exact)}})
    small = quantize_int8(exact)
    sizes = {"fp32": len(exact), "int8": len(small)}
    if parameters.precision == "int8":
        return SelectedPrecision(small, {"precision": "int8", "bytes": sizes})
    if not searches:
        return SelectedPrecision(exact, {"precision": "fp32", "bytes": sizes, "searches": 0})
    hits, vectors = zip(*map(search, (exact, small)), strict=True)
    gain = hits[1].astype(np.float64) - hits[0]
    error = float(gain.std() / np.sqrt(len(gain)))
    drop_upper_bound = float(-gain.mean()) + _Z_95 * error
    precision = "int8" if drop_upper_bound <= MAX_RECALL_DROP else "fp32"
    card = {
        "precision": precision,
        "bytes": sizes,
        "searches": len(gain),
        "recall_at_10": {
            name: round(float(hit.mean()), 4)
            for name, hit in zip(("fp32", "int8"), hits, strict=True)
        },
        "recall_drop_upper_bound": round(drop_upper_bound, 4),
        "min_cosine": round(float((vectors[0] * vectors[1]).sum(axis=1).min()), 4),
    }
    return SelectedPrecision(small if precision == "int8" else exact, card)


def quantize_int8(graph: bytes) -> bytes:
    """Quantize a text encoder: weights per channel, activations dynamically.

    Weights use seven bits: on CPUs without VNNI, sums of 8-bit products overflow 16 bits.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, suppress_warnings():
        source, target = (Path(folder, f"{name}.onnx") for name in ("fp32", "int8"))
        source.write_bytes(graph)
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # Shape inference does not know ONNX Runtime's own operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return target.read_bytes()


def _own_text_is_hit(queries: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return whether each query's own text is among the ten nearest, last among ties: bool, (queries,)."""
    similarities = queries @ texts.T
    own = np.diagonal(similarities)
    # Counting nearer texts instead would accept an encoder whose vectors are all equal or NaN.
    farther: NDArray[np.int64] = (similarities < own[:, np.newaxis]).sum(axis=1)
    return len(texts) - farther <= DEPTH


def _own_photo_is_hit(
    queries: NDArray[np.float32], photos: NDArray[np.float32], owners: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return whether each query has its own photo among the ten nearest, last among ties: bool, (queries,).

    Args:
        queries: float32, (queries, dimension).
        photos: float32, (photos, dimension).
        owners: int64, (photos,), the query of each photo.
    """
    similarities = queries @ photos.T
    is_own = owners == np.arange(len(queries))[:, np.newaxis]
    best = np.where(is_own, similarities, -np.inf).max(axis=1)
    # "not <" so that NaN counts as nearer.
    nearer: NDArray[np.int64] = (~is_own & ~(similarities < best[:, np.newaxis])).sum(axis=1)
    return nearer < DEPTH
