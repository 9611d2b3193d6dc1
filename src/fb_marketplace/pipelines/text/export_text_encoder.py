"""The served text encoder: the sentence encoder followed by the text projection."""

import numpy as np

from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef

_PROJECTION = """projection (float[n, d] text_embedding) => (float[n, {width}] text_to_image_embedding) {{
  projection_out = MatMul (text_embedding, projection_weight)
  projection_out_biased = Add (projection_out, projection_bias)
  text_to_image_embedding = LpNormalization <axis = -1, p = 2> (projection_out_biased)
}}"""


def export_text_encoder(sentence_encoder: FileRef, text_projection: FileRef | Skipped) -> bytes:
    """Append the text projection, if there is one, to the sentence encoder.

    Args:
        sentence_encoder: ONNX with the output ``text_embedding``.
        text_projection: ``weight`` and ``bias``, safetensors.

    Returns:
        ONNX with the outputs ``text_embedding`` and ``text_to_image_embedding``.
    """
    if isinstance(text_projection, Skipped):
        return sentence_encoder.read()
    import onnx
    from onnx import numpy_helper, parser
    from safetensors.numpy import load

    weights = load(text_projection.read())
    model = onnx.load_from_string(sentence_encoder.read())
    tail = parser.parse_graph(_PROJECTION.format(width=weights["weight"].shape[1]))
    # safetensors returns tensors in varying order. Sorted, they give the graph a stable digest.
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), f"projection_{name}")
        for name, value in sorted(weights.items())
    )
    model.graph.node.extend(tail.node)
    model.graph.output.extend(tail.output)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
