"""The graph that is served: the sentence encoder, with the projection to pictures behind it."""

import numpy as np

from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.text import MEANING, PICTURED


def export_text_encoder(sentence_encoder: FileRef, text_projection: FileRef) -> bytes:
    """Put the projection behind the sentence encoder; gives ONNX.

    Args:
        sentence_encoder: gives ``meaning``.
        text_projection: ``weight_in``, ``bias_in``, ``weight_out`` and ``bias_out``, safetensors.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load

    weights = load(text_projection.read())
    model = onnx.load_from_string(sentence_encoder.read())
    graph = model.graph
    # Sorted: they are read in another order each time, and the graph's digest would be another.
    for name, value in sorted(weights.items()):
        graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(value), f"pictured.{name}")
        )
    for kind, inputs, output in (
        ("MatMul", (MEANING, "pictured.weight_in"), "pictured.wide"),
        ("Add", ("pictured.wide", "pictured.bias_in"), "pictured.biased"),
        ("Gelu", ("pictured.biased",), "pictured.bent"),
        ("MatMul", ("pictured.bent", "pictured.weight_out"), "pictured.put"),
        ("Add", ("pictured.put", "pictured.bias_out"), "pictured.placed"),
    ):
        graph.node.append(helper.make_node(kind, inputs, [output]))
    graph.node.append(
        helper.make_node("LpNormalization", ["pictured.placed"], [PICTURED], axis=-1, p=2)
    )
    width = weights["weight_out"].shape[1]
    graph.output.append(helper.make_tensor_value_info(PICTURED, TensorProto.FLOAT, ["n", width]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
