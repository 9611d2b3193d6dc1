"""A frozen encoder of the user's own, as an ONNX graph, joined with the served encoder.

The joined embedding is the concatenation of both, of unit length. Its cosine similarity is the weighted
mean of their similarities, with a weight selected on validation. Index and server know one encoder.
"""

from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.ml.batch_inference import encode_rows
from fb_marketplace.parameters.vision import ExternalEncoderParameters, VisionParameters
from fb_marketplace.pipelines.vision.data.task import photos_with_labels
from fb_marketplace.pipelines.vision.models.pretrained import WeightSource, read_file
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.encoders.image import EMBEDDING, INPUT, PROBABILITIES
from fb_marketplace_serving.encoders.session import open_session
from fb_marketplace_serving.imaging.canonical import SIDE

MIN_OPSET: Final = 18

WEIGHTS: Final = tuple(step / 10 for step in range(10))
"""Candidate weights of the external encoder's similarities."""

PREPROCESSING: Final = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
preprocessing (uint8[photos,{photo_side},{photo_side},3] pixels)
  => (float[photos,3,{side},{side}] photos_read)
<float[1,3,1,1] mean = {{{mean}}}, float[1,3,1,1] std = {{{std}}}, float brightest = {{255}},
 int64[3] order = {{{order}}}, float[4] scales = {{1, 1, {scale}, {scale}}}> {{
  values = Cast<to = 1>(pixels)
  channels = Transpose<perm = [0, 3, 1, 2]>(values)
  ordered = Gather<axis = 1>(channels, order)
  unit = Div(ordered, brightest)
  centered = Sub(unit, mean)
  normalized = Div(centered, std)
  photos_read = Resize<mode = "linear">(normalized, , scales)
}}"""

NORMALIZATION: Final = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
normalization (float[photos,{width}] vector)
  => (float[photos,1] probabilities, float[photos,{width}] embedding)
<int64[1] axes = {{1}}, float epsilon = {{1e-12}}> {{
  norm = ReduceL2<keepdims = 1>(vector, axes)
  positive = Max(norm, epsilon)
  embedding = Div(vector, positive)
  probabilities = ReduceMax<keepdims = 1>(embedding, axes)
}}"""

SHARING: Final = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
sharing (uint8[photos,{side},{side},3] pixels)
  => (uint8[photos,{side},{side},3] first, uint8[photos,{side},{side},3] second) {{
  first = Identity(pixels)
  second = Identity(pixels)
}}"""

JOINING: Final = """
<ir_version: {ir}, opset_import: ["" : {opset}]>
joining (float[photos,{classes}] shares, float[photos,{first}] one, float[photos,{second}] other)
  => (float[photos,{classes}] probabilities, float[photos,{width}] embedding)
<float one_factor = {{{one_factor}}}, float other_factor = {{{other_factor}}}> {{
  probabilities = Identity(shares)
  one_scaled = Mul(one, one_factor)
  other_scaled = Mul(other, other_factor)
  embedding = Concat<axis = 1>(one_scaled, other_scaled)
}}"""


def select_external_weight(
    encoder_fp32: FileRef,
    images: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> dict[str, Any]:
    """Select the weight of the external encoder by Recall@1 of validation photos in their group.

    Args:
        encoder_fp32: the trained encoder.
        images: the canonical photos.
        products: the listings.
        splits: group and split of each photo.
        parameters: the external encoder, if there is one.

    Returns:
        ``weight``, and ``recall_at_1`` by weight; empty without external encoder.

    Raises:
        InsufficientDataError: no validation group has two photos.
        UserError: the external encoder cannot be used.
    """
    if parameters.external_encoder is None:
        return {}
    from fb_marketplace.pipelines.vision.training.metric_learning import Pairs, first_hits

    external = load_external_encoder(parameters.external_encoder)
    listed = photos_with_labels(images, products, splits)
    photos = listed[listed["split"] == "validation"]
    groups = np.unique(photos["group"], return_inverse=True)[1].astype(np.int64)
    if not len(groups) or np.bincount(groups).max() < 2:
        raise InsufficientDataError(
            "the weight of the external encoder needs a validation group with two photos. The encoder is "
            "served without it"
        )
    rows, order = photos["row"].to_list(), np.arange(len(groups))
    pairs = Pairs(np.empty((len(groups), 0), np.float32), groups, groups, order[:0], order)
    trained, other = (
        encode_rows(graph, images, rows).embeddings for graph in (encoder_fp32.read(), external)
    )
    recalls = {
        weight: float(
            first_hits(
                np.hstack([trained * (1 - weight) ** 0.5, other * weight**0.5]), pairs
            ).mean()
        )
        for weight in WEIGHTS
    }
    weight = max(recalls, key=lambda candidate: (recalls[candidate], -candidate))
    rounded = {str(candidate): round(recall, 4) for candidate, recall in recalls.items()}
    return {"weight": weight, "recall_at_1": rounded, "photos": len(photos)}


def load_external_encoder(config: ExternalEncoderParameters) -> bytes:
    """Read the graph, and add resizing, normalization of photos and of vectors.

    Returns:
        An encoder, ONNX; its ``probabilities`` are a placeholder of one column.

    Raises:
        UserError: the file is missing or has another digest, or the graph is not as described.
    """
    import onnx
    from onnx import compose

    source = WeightSource("file", config.onnx, config.sha256)
    content = read_file(source, "vision.external_encoder.onnx", "vision.external_encoder.sha256")
    name, width = _check_graph(content, config)
    model = _at_least_opset(onnx.load_from_string(content), MIN_OPSET, config.onnx)
    model = compose.add_prefix(model, "external/")
    model.ClearField("metadata_props")
    versions = _versions(model)
    preprocessing = onnx.parser.parse_model(
        PREPROCESSING.format(
            **versions,
            photo_side=SIDE,
            side=config.input_side,
            scale=config.input_side / SIDE,
            mean=_numbers(config.mean),
            std=_numbers(config.std),
            order="0, 1, 2" if config.channel_order == "rgb" else "2, 1, 0",
        )
    )
    normalization = onnx.parser.parse_model(NORMALIZATION.format(**versions, width=width))
    output = f"external/{config.output}"
    read = compose.merge_models(
        preprocessing, model, [("photos_read", f"external/{name}")], outputs=[output]
    )
    return _serialize(compose.merge_models(read, normalization, [(output, "vector")]))


def join_encoders(encoder: bytes, external: bytes, weight: float) -> bytes:
    """Join two encoders: probabilities of the first, embeddings of both.

    Args:
        encoder: the trained encoder, ONNX.
        external: the external encoder, from :func:`load_external_encoder`.
        weight: weight of the external encoder's similarities.

    Returns:
        An encoder, ONNX.
    """
    import onnx
    from onnx import compose

    models = [onnx.load_from_string(content) for content in (encoder, external)]
    opset = max(_versions(model)["opset"] for model in models)
    one, other = (
        compose.add_prefix(_at_least_opset(model, opset, "the encoder"), prefix)
        for model, prefix in zip(models, ("one/", "other/"), strict=True)
    )
    versions = {"opset": opset, "ir": max(one.ir_version, other.ir_version)}
    one.ir_version = other.ir_version = versions["ir"]
    widths = {
        tensor.name: tensor.type.tensor_type.shape.dim[1].dim_value
        for tensor in (*one.graph.output, *other.graph.output)
    }
    first, second = widths[f"one/{EMBEDDING}"], widths[f"other/{EMBEDDING}"]
    joining = onnx.parser.parse_model(
        JOINING.format(
            **versions,
            classes=widths[f"one/{PROBABILITIES}"],
            first=first,
            second=second,
            width=first + second,
            one_factor=(1 - weight) ** 0.5,
            other_factor=weight**0.5,
        )
    )
    sharing = onnx.parser.parse_model(SHARING.format(**versions, side=SIDE))
    outputs = [f"one/{PROBABILITIES}", f"one/{EMBEDDING}", f"other/{EMBEDDING}"]
    both = compose.merge_models(sharing, one, [("first", f"one/{INPUT}")])
    both = compose.merge_models(both, other, [("second", f"other/{INPUT}")], outputs=outputs)
    connections = list(zip(outputs, ("shares", "one", "other"), strict=True))
    return _serialize(compose.merge_models(both, joining, connections))


def _check_graph(content: bytes, config: ExternalEncoderParameters) -> tuple[str, int]:
    """Return the name of the input, and the width of the output."""

    def problem(text: str) -> UserError:
        return UserError(f"vision.external_encoder: {config.onnx} {text}")

    try:
        session = open_session(content, None, ValueError)
    except ValueError as error:
        raise problem(f"cannot be opened: {error}") from error
    inputs, outputs = session.get_inputs(), [output.name for output in session.get_outputs()]
    side = config.input_side
    shape = list(inputs[0].shape)
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3:
        raise problem(
            f"has the inputs {[(one.name, one.type, one.shape) for one in inputs]}; expected one of "
            f"floats, [n, 3, {side}, {side}]. Export it so"
        )
    if isinstance(shape[0], int):
        raise problem(
            f"reads batches of {shape[0]}; expected any number of photos. Export it with a dynamic first "
            "axis"
        )
    if any(isinstance(size, int) and size != side for size in shape[2:]):
        raise problem(
            f"reads photos of {shape[2]} x {shape[3]} pixels; expected vision.external_encoder.input_side, "
            f"{side}. Set it to {shape[2]}"
        )
    if config.output not in outputs:
        raise problem(
            f"has no output '{config.output}'; expected vision.external_encoder.output to be one of "
            f"{', '.join(outputs)}. Set it"
        )
    photos = np.zeros((2, 3, side, side), np.float32)
    try:
        (vectors,) = session.run([config.output], {inputs[0].name: photos})
    except Exception as error:  # ONNX Runtime's errors have no narrower base
        first_line = str(error).partition("\n")[0]
        raise problem(
            f"cannot read photos of {side} x {side} pixels ({first_line}). Set "
            "vision.external_encoder.input_side to the side that it was exported for"
        ) from error
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != 2:
        raise problem(
            f"gives {vectors.dtype} {vectors.shape} for two photos as '{config.output}'; expected float32 "
            "(2, a width). Choose the output of the pooled features"
        )
    return inputs[0].name, vectors.shape[1]


def _at_least_opset(model: Any, opset: int, origin: str) -> Any:
    from onnx import version_converter

    if _versions(model)["opset"] >= opset:
        return model
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter's errors have no narrower base
        first_line = str(error).partition("\n")[0]
        raise UserError(
            f"{origin} cannot be converted from opset {_versions(model)['opset']} to {opset} "
            f"({first_line}). Export it with opset {opset}"
        ) from error


def _versions(model: Any) -> dict[str, int]:
    opset = next(one.version for one in model.opset_import if one.domain in {"", "ai.onnx"})
    return {"opset": opset, "ir": model.ir_version}


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(map(str, values))


def _serialize(model: Any) -> bytes:
    content: bytes = model.SerializeToString(deterministic=True)
    return content
