"""Canonical photos in, class probabilities and embeddings out, through ONNX Runtime.

Resizing, normalisation and all heads are inside the graph: whoever opens the same bytes gets the
same answers, and nothing about the model's input is written twice.
"""

from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.imaging.canonical import SIDE

INPUT: Final = "pixels"
PROBABILITIES: Final = "probabilities"
EMBEDDING: Final = "embedding"


class EncoderError(ValueError):
    """A model that is no encoder; says what was found and what was expected."""


class Encoding(NamedTuple):
    """What the encoder makes of n photos.

    Attributes:
        probabilities: float32, (n, classes); each row sums to one.
        embeddings: float32, (n, dimension).
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


class Encoder:
    """An opened encoder. Safe to share between threads.

    Attributes:
        classes: number of classes.
        dimension: size of an embedding.
    """

    def __init__(self, session: Any) -> None:
        """Take an ``onnxruntime.InferenceSession`` of an encoder; see :meth:`from_bytes`."""
        _check_input(session.get_inputs())
        self.classes = _width_of_output(session.get_outputs(), PROBABILITIES)
        self.dimension = _width_of_output(session.get_outputs(), EMBEDDING)
        self._session = session

    @classmethod
    def from_bytes(cls, onnx: bytes, threads: int | None = None) -> Self:
        """Open an encoder.

        Args:
            onnx: an ONNX graph, its weights inside: ``pixels`` uint8 (n, 256, 256, 3) in,
                ``probabilities`` float32 (n, classes) and ``embedding`` float32 (n, dimension) out.
            threads: threads that one batch may use; without it, one a physical core.

        Raises:
            EncoderError: it is no ONNX graph, or not one of an encoder.
        """
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = threads or 0
        # Threads that spin while they wait take the cores from decoding, and from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors share no narrower base
            first_line = str(error).partition("\n")[0]
            raise EncoderError(
                f"found {len(onnx):,} bytes that ONNX Runtime cannot open ({first_line}); "
                "expected one ONNX file with its weights inside"
            ) from error
        return cls(session)

    def encode(self, photos: NDArray[np.uint8]) -> Encoding:
        """Encode a batch of canonical photos.

        Args:
            photos: uint8, (n, 256, 256, 3), RGB, as :func:`photos.pixels` gives them.

        Raises:
            ValueError: the array has another shape or dtype.
        """
        if photos.dtype != np.uint8 or photos.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(
                f"found {photos.dtype} {photos.shape}; expected uint8 (n, {SIDE}, {SIDE}, 3)"
            )
        if len(photos) == 0:
            return Encoding(
                np.empty((0, self.classes), np.float32), np.empty((0, self.dimension), np.float32)
            )
        probabilities, embeddings = self._session.run(
            [PROBABILITIES, EMBEDDING], {INPUT: np.ascontiguousarray(photos)}
        )
        return Encoding(probabilities, embeddings)


def _check_input(inputs: list[Any]) -> None:
    found = ", ".join(_describe(each) for each in inputs) or "none"
    expected = f"{INPUT} tensor(uint8) [n, {SIDE}, {SIDE}, 3]"
    match inputs:
        case [only] if (
            (only.name, only.type) == (INPUT, "tensor(uint8)")
            and only.shape[1:] == [SIDE, SIDE, 3]
            and not isinstance(only.shape[0], int)
        ):
            return
    raise EncoderError(f"found the inputs {found}; expected one: {expected}, n left open")


def _width_of_output(outputs: list[Any], name: str) -> int:
    found = ", ".join(_describe(each) for each in outputs) or "none"
    for each in outputs:
        if each.name == name and each.type == "tensor(float)" and len(each.shape) == 2:
            width = each.shape[1]
            if isinstance(width, int):
                return width
    raise EncoderError(
        f"found the outputs {found}; expected among them: {name} tensor(float) [n, a fixed width]"
    )


def _describe(tensor: Any) -> str:
    shape = ", ".join(str(size) for size in tensor.shape)
    return f"{tensor.name} {tensor.type} [{shape}]"
