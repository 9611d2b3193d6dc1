"""Whether texts are encoded in int8: where that finds listings by their titles as well as fp32 does."""

import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.query_text import shorten_title
from fb_marketplace.ml.listing_text import listing_text
from fb_marketplace.observability.log_filters import suppress_root_warnings
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.text import TextEncoder

DEPTH: Final = 10

LOSS: Final = 0.01
"""Share of searches that int8 may find less, by the upper end of its interval, to be taken."""

_TWO_ERRORS: Final = 1.96


class SelectedPrecision(NamedTuple):
    """The encoder that is served, and how it was chosen."""

    onnx: bytes
    card: dict[str, Any]


def select_precision(
    exact_sentence_encoder: FileRef,
    text_tokenizer: FileRef,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: TextEncoderParameters,
) -> SelectedPrecision:
    """Give the encoder in the precision that the parameters name, or in int8 where it finds as well.

    Args:
        exact_sentence_encoder: in fp32, ONNX.
        text_tokenizer: its tokenizer.
        products: the listings.
        splits: where each belongs; those of validation are searched for.
        parameters: the precision, and how many listings it is judged by.

    Returns:
        The encoder, ONNX; and what is known of both: bytes, and under ``auto`` the share of short titles
        that find their own listing's text among the first ten, and the least cosine of a text by both.

    Raises:
        UserError: it is to be judged, and validation has no listing.
    """
    exact = exact_sentence_encoder.read()
    if parameters.precision == "fp32":
        return SelectedPrecision(exact, {"precision": "fp32", "bytes": {"fp32": len(exact)}})
    small = quantize_int8(exact)
    sizes = {"fp32": len(exact), "int8": len(small)}
    if parameters.precision == "int8":
        return SelectedPrecision(small, {"precision": "int8", "bytes": sizes})
    there = set(splits.loc[splits["split"] == "validation", "product_id"])
    asked = products[products["product_id"].isin(there)].sort_values("product_id")
    asked = asked.head(parameters.precision_texts)
    if asked.empty:
        raise UserError(
            "The validation split has no listing to compare int8 with fp32 on. Add listings, or set "
            "text_encoder.precision to fp32."
        )
    tokenizer = text_tokenizer.read()
    titles = [shorten_title(title) for title in asked["title"]]
    texts = listing_text(asked)
    found, vectors = [], []
    for graph in (exact, small):
        encoder = TextEncoder.from_bytes(graph, tokenizer)
        encoded = encoder.encode(texts).meaning
        found.append(_finds_itself(encoder.encode(titles).meaning, encoded))
        vectors.append(encoded)
    gain = found[1].astype(np.float64) - found[0]
    error = float(gain.std() / np.sqrt(len(gain)))
    lost_at_most = float(-gain.mean()) + _TWO_ERRORS * error
    precision = "int8" if lost_at_most <= LOSS else "fp32"
    card = {
        "precision": precision,
        "bytes": sizes,
        "searches": len(gain),
        "recall_at_10": {
            name: round(float(of.mean()), 4)
            for name, of in zip(("fp32", "int8"), found, strict=True)
        },
        "lost_at_most": round(lost_at_most, 4),
        "least_cosine": round(float((vectors[0] * vectors[1]).sum(axis=1).min()), 4),
    }
    return SelectedPrecision(small if precision == "int8" else exact, card)


def quantize_int8(graph: bytes) -> bytes:
    """Quantise an encoder of texts: weights a channel, activations by the text that is encoded.

    With seven bits, as without VNNI eight times eight bits overflow the sums of sixteen.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, suppress_root_warnings():
        exact, done = (Path(folder, f"{name}.onnx") for name in ("exact", "done"))
        exact.write_bytes(graph)
        quantize_dynamic(
            exact,
            done,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            # Shapes are not followed through ONNX Runtime's own operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return done.read_bytes()


def _finds_itself(queries: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say of each query whether its own text is among the ten nearest, of equals the last."""
    alike = queries @ texts.T
    own = np.diagonal(alike)
    # Not the nearer ones: an encoder to which all texts are one, or no number, has none of those.
    further: NDArray[np.int64] = (alike < own[:, np.newaxis]).sum(axis=1)
    return len(texts) - further <= DEPTH
