"""Static quantization to int8 by ONNX Runtime, calibrated on photos."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from fb_marketplace.observability.log_filters import suppress_warnings
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.encoders.image import INPUT
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import stretch_content

BATCH_SIZE: Final = 8
QUANTIZED_OPERATORS: Final = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "GlobalAveragePool",
    "MaxPool",
    "Relu",
    "Clip",
)
"""Operators that compute in int8; preprocessing and normalization stay in fp32."""


def quantize(graph: bytes, images: Table, rows: Sequence[int]) -> bytes:
    """Quantize an encoder: weights per channel, activations by their range on calibration photos.

    Args:
        graph: the encoder in fp32, ONNX.
        images: the canonical photos.
        rows: positions of the calibration photos (training split) in the table.

    Returns:
        An encoder with the same input and outputs, ONNX.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, suppress_warnings():
        fp32, prepared, int8 = (
            Path(folder, f"{name}.onnx") for name in ("fp32", "prepared", "int8")
        )
        fp32.write_bytes(graph)
        quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(int8),
            _CalibrationPhotos(images, rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED_OPERATORS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": False, "CalibMovingAverage": True},
        )
        return int8.read_bytes()


class _CalibrationPhotos:
    """Batches of photos with the interface of ONNX Runtime's calibration data reader."""

    def __init__(self, images: Table, rows: Sequence[int]) -> None:
        self._batches = _batches(images, rows)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._batches

    def __next__(self) -> dict[str, Any]:
        return next(self._batches)


def _batches(images: Table, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(rows), BATCH_SIZE):
        cut = list(rows[start : start + BATCH_SIZE])
        jpegs = images.take(cut, ["jpeg"]).column("jpeg").to_pylist()
        photos = [stretch_content(canonical.decode_canonical(jpeg)) for jpeg in jpegs]
        yield {INPUT: np.stack(photos)}
