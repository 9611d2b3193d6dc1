"""Image encoder: canonical photos to class probabilities and embeddings, by ONNX Runtime.

The content of a photo is stretched over its black bars first; resizing, normalization and all heads are
part of the graph. So every process that loads the same file computes the same results.
"""

from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.encoders.session import open_session
from fb_marketplace_serving.imaging.canonical import SIDE
from fb_marketplace_serving.imaging.letterbox import stretch_content

INPUT: Final = "pixels"
PROBABILITIES: Final = "probabilities"
EMBEDDING: Final = "embedding"


class EncoderError(ValueError):
    """A model that is not an image encoder."""


class Encoding(NamedTuple):
    """Encodings of n photos.

    Attributes:
        probabilities: float32, (n, classes); each row sums to one.
        embeddings: float32, (n, dimension).
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


class Encoder:
    """A loaded image encoder. Thread-safe.

    Attributes:
        classes: number of classes.
        dimension: number of dimensions of an embedding.
    """

    def __init__(self, session: Any) -> None:
        """Wrap an ``onnxruntime.InferenceSession``; see :meth:`from_bytes`."""
        _check_input(session.get_inputs())
        self.classes = _output_width(session.get_outputs(), PROBABILITIES)
        self.dimension = _output_width(session.get_outputs(), EMBEDDING)
        self._session = session

    @classmethod
    def from_bytes(cls, onnx: bytes, threads: int | None = None) -> Self:
        """Load an encoder.

        Args:
            onnx: an ONNX graph with its weights inside. Input: ``pixels`` uint8 (n, 256, 256, 3), photos
                without bars.
                Outputs: ``probabilities`` float32 (n, classes) and ``embedding`` float32 (n, dimension).
            threads: threads per batch; None uses one per physical core.

        Raises:
            EncoderError: it is not an ONNX graph, or its inputs or outputs are not those of an encoder.
        """
        return cls(open_session(onnx, threads, EncoderError))

    def encode(self, photos: NDArray[np.uint8]) -> Encoding:
        """Encode a batch of canonical photos.

        Args:
            photos: uint8, (n, 256, 256, 3), RGB, from :func:`canonical.decode_canonical`.

        Returns:
            Probabilities and embeddings, in the order of the photos.

        Raises:
            ValueError: the array has another shape or dtype.
        """
        _check_photos(photos)
        stretched = [stretch_content(photo) for photo in photos]
        return self.encode_stretched(np.stack(stretched) if stretched else photos)

    def encode_stretched(self, photos: NDArray[np.uint8]) -> Encoding:
        """Encode a batch of stretched photos.

        Args:
            photos: uint8, (n, 256, 256, 3), RGB, from :func:`canonical.decode_stretched`.

        Returns:
            Probabilities and embeddings, in the order of the photos.

        Raises:
            ValueError: the array has another shape or dtype.
        """
        _check_photos(photos)
        if len(photos) == 0:
            return Encoding(
                np.empty((0, self.classes), np.float32), np.empty((0, self.dimension), np.float32)
            )
        probabilities, embeddings = self._session.run([PROBABILITIES, EMBEDDING], {INPUT: photos})
        return Encoding(probabilities, embeddings)


def _check_photos(photos: NDArray[np.uint8]) -> None:
    if photos.dtype != np.uint8 or photos.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(
            f"found {photos.dtype} {photos.shape}; expected uint8 (n, {SIDE}, {SIDE}, 3)"
        )


def _check_input(inputs: list[Any]) -> None:
    match inputs:
        case [tensor] if (
            (tensor.name, tensor.type) == (INPUT, "tensor(uint8)")
            and tensor.shape[1:] == [SIDE, SIDE, 3]
            and not isinstance(tensor.shape[0], int)
        ):
            return
    raise EncoderError(
        f"found the inputs {_describe(inputs)}; expected one: {INPUT} tensor(uint8) "
        f"[n, {SIDE}, {SIDE}, 3] with a free n"
    )


def _output_width(outputs: list[Any], name: str) -> int:
    for tensor in outputs:
        if tensor.name == name and tensor.type == "tensor(float)" and len(tensor.shape) == 2:
            width = tensor.shape[1]
            if isinstance(width, int):
                return width
    raise EncoderError(
        f"found the outputs {_describe(outputs)}; expected among them: {name} tensor(float) "
        "[n, a fixed width]"
    )


def _describe(tensors: list[Any]) -> str:
    texts = (f"{one.name} {one.type} [{', '.join(map(str, one.shape))}]" for one in tensors)
    return ", ".join(texts) or "none"
