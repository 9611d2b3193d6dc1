"""An encoder that knows a photo by its mean colour."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fb_marketplace_serving.photos import SIDE


@pytest.fixture(scope="session")
def colour_encoder() -> bytes:
    """An ONNX encoder: three classes, and the mean colour at length one as embedding."""
    constants = {"bright": np.float32([9 / 255]), "across": np.int64([1, 2])}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "across"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "bright"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("LpNormalization", ["colour"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "mean colour",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3])
            for name in ("probabilities", "embedding")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
