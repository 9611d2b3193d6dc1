"""A text encoder made in a moment: the mean of a vector for each word, and a turn of it as the picture."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("red", "blue", "oak", "chair", "lamp", "bike", "table", "old")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def tokenizer(padded_to=None):
    """A token a word, between a first and a last one, as JSON."""
    places = {word: place for place, word in enumerate((*SPECIAL, *WORDS))}
    created = Tokenizer(models.WordLevel(places, unk_token="[UNK]"))
    created.pre_tokenizer = pre_tokenizers.Whitespace()
    created.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    if padded_to:
        created.enable_padding(length=padded_to)
        created.enable_truncation(padded_to)
    return created.to_str().encode()


def graph(
    size=6,
    text_to_image_size=4,
    names=("ids", "mask"),
    kind=TensorProto.INT64,
    text_output="text_embedding",
    heeds_mask=True,
    seed=0,
):
    """An ONNX graph; without an output of text-to-image embeddings if ``text_to_image_size`` is 0."""
    random = np.random.default_rng(seed)
    constants = {
        "table": random.normal(size=(len(SPECIAL) + len(WORDS), size)).astype(np.float32),
        "last": np.int64([-1]),
        "second": np.int64([1]),
        "turn": random.normal(size=(size, text_to_image_size or 1)).astype(np.float32),
    }
    ids, mask = names
    nodes = [
        helper.make_node("Cast", [ids], ["places"], to=TensorProto.INT64),
        helper.make_node("Cast", [mask], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table", "places"], ["words"]),
        helper.make_node("Unsqueeze", ["there", "last"], ["counted"]),
        helper.make_node("Mul", ["words", "counted"], ["kept"]),
        helper.make_node(
            "ReduceSum", ["kept" if heeds_mask else "words", "second"], ["summed"], keepdims=0
        ),
        helper.make_node("LpNormalization", ["summed"], [text_output], axis=-1, p=2),
    ]
    outputs = [helper.make_tensor_value_info(text_output, TensorProto.FLOAT, ["n", size])]
    if text_to_image_size:
        nodes += [
            helper.make_node("MatMul", [text_output, "turn"], ["turned"]),
            helper.make_node(
                "LpNormalization", ["turned"], ["text_to_image_embedding"], axis=-1, p=2
            ),
        ]
        outputs.append(
            helper.make_tensor_value_info(
                "text_to_image_embedding", TensorProto.FLOAT, ["n", text_to_image_size]
            )
        )
    created = helper.make_model(
        helper.make_graph(
            nodes,
            "mean of words",
            [helper.make_tensor_value_info(name, kind, ["n", "tokens"]) for name in names],
            outputs,
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(created)
    return created.SerializeToString()


TOWER = """
<ir_version: 10, opset_import: ["" : 18]>
tower (int64[n,{tokens}] ids) => (float[n,{size}] text_to_image_embedding) {{
  words = Gather (table, ids)
  summed = ReduceSum <keepdims = 0> (words, second)
  text_to_image_embedding = LpNormalization <axis = -1, p = 2> (summed)
}}"""


def tower(size=4, tokens=8, seed=0):
    """The text tower of a dual encoder, as an ONNX graph: the mean of other vectors."""
    random = np.random.default_rng(seed)
    created = parser.parse_model(TOWER.format(size=size, tokens=tokens))
    table = random.normal(size=(len(SPECIAL) + len(WORDS), size)).astype(np.float32)
    constants = {"table": table, "second": np.int64([1])}
    created.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    onnx.checker.check_model(created)
    return created.SerializeToString()
