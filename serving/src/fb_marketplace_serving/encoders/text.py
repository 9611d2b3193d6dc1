"""Text encoder, by ONNX Runtime. A text has two embeddings: one for text search, and one in
the space of image embeddings, for search of photos by text.

The tokenizer is a JSON file next to the graph. Pooling, normalization and the projection to the space of
images are part of the graph. Instead of the projection, the text tower of a dual encoder may give the
second embedding; it has a tokenizer of its own.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.encoders.session import open_session
from fb_marketplace_serving.interpreter_lock import INTERPRETER

IDS: Final = "ids"
MASK: Final = "mask"
TEXT_EMBEDDING: Final = "text_embedding"
TEXT_TO_IMAGE_EMBEDDING: Final = "text_to_image_embedding"

MAX_TOKENS: Final = 128
"""Maximum tokens of a text, as in training. The rest of a longer text is ignored."""

CACHE_SIZE: Final = 4096
"""Number of texts with cached embeddings, about 2 kB each. Frequent searches repeat a text, and so do the
pages, orders and filters of one search."""


SLOW_OPTIMIZERS: Final = ("SkipLayerNormFusion",)
"""For few tokens, ONNX Runtime's fused operator for a sum and its normalization is slower than two
operators."""


class TextEncoderError(ValueError):
    """A graph or tokenizer that does not belong to a text encoder."""


class TextEncoding(NamedTuple):
    """Embeddings of n texts, as unit vectors.

    Attributes:
        text_embedding: float32, (n, dimension); near the embeddings of texts of similar meaning.
        text_to_image_embedding: float32, (n, text-to-image dimension); near the embeddings of
            matching photos. The dimension is zero if the graph has no such output.
    """

    text_embedding: NDArray[np.float32]
    text_to_image_embedding: NDArray[np.float32]


class TextEncoder:
    """A loaded text encoder. Thread-safe.

    Attributes:
        dimension: number of dimensions of ``text_embedding``.
        text_to_image_dimension: number of dimensions of ``text_to_image_embedding``; zero if the
            graph has no such output.
        is_dual: whether the text tower of a dual encoder gives ``text_to_image_embedding``.
    """

    def __init__(self, session: Any, tokenizer: Any, tower: "TextTower | None" = None) -> None:
        """Wrap a session of ONNX Runtime and a tokenizer; see :meth:`from_bytes`."""
        inputs = sorted((tensor.name, tensor.type) for tensor in session.get_inputs())
        if inputs != [(IDS, "tensor(int64)"), (MASK, "tensor(int64)")]:
            raise TextEncoderError(
                f"found the inputs {inputs}; expected {IDS} and {MASK}, tensor(int64) [n, tokens]"
            )
        widths = {
            tensor.name: tensor.shape[1]
            for tensor in session.get_outputs()
            if len(tensor.shape) == 2 and isinstance(tensor.shape[1], int)
        }
        if TEXT_EMBEDDING not in widths:
            raise TextEncoderError(
                f"found outputs of fixed width {sorted(widths)}; expected among them {TEXT_EMBEDDING}"
            )
        self.dimension = widths[TEXT_EMBEDDING]
        self.text_to_image_dimension = widths.get(TEXT_TO_IMAGE_EMBEDDING, 0)
        self._outputs = [
            name for name in (TEXT_EMBEDDING, TEXT_TO_IMAGE_EMBEDDING) if name in widths
        ]
        self._tower, self.is_dual = tower, tower is not None
        if tower is not None:
            self.text_to_image_dimension, self._outputs = tower.dimension, [TEXT_EMBEDDING]
        self._session = session
        self._tokenizer = tokenizer
        self._cached = lru_cache(CACHE_SIZE)(self._encode)

    @classmethod
    def from_bytes(
        cls,
        onnx: bytes,
        tokenizer: bytes,
        tower: bytes | None = None,
        tower_tokenizer: bytes | None = None,
        *,
        threads: int = 1,
    ) -> Self:
        """Load a text encoder.

        Args:
            onnx: an ONNX graph with its weights inside. Inputs: ``ids`` and ``mask`` int64 (n, tokens).
                Outputs: ``text_embedding`` float32 (n, dimension) and, optionally,
                ``text_to_image_embedding`` float32 (n, text-to-image dimension).
            tokenizer: JSON of the library ``tokenizers``.
            tower: the text tower of a dual encoder, whose vectors replace ``text_to_image_embedding``: an
                ONNX graph that reads ``ids`` int64 (n, tokens). None if there is none.
            tower_tokenizer: its tokenizer, which pads to the number of tokens.
            threads: threads per text. A query is too short to gain from more than one.

        Raises:
            TextEncoderError: one of them cannot be loaded.
        """
        session = open_session(onnx, threads, TextEncoderError, SLOW_OPTIMIZERS)
        loaded = _load_tokenizer(tokenizer)
        loaded.enable_truncation(MAX_TOKENS)
        loaded.no_padding()
        if tower is None or tower_tokenizer is None:
            return cls(session, loaded)
        return cls(session, loaded, TextTower.from_bytes(tower, tower_tokenizer, threads))

    def encode(self, texts: Sequence[str]) -> TextEncoding:
        """Encode texts, one at a time. Embeddings of recent texts are cached.

        A batch would pad short texts and is no faster on one core. In a quantized graph, the embedding of
        a text would also depend on the rest of the batch.

        Args:
            texts: the texts; longer ones are truncated to ``MAX_TOKENS``.

        Returns:
            Embeddings, in the order of the texts.
        """
        text = np.empty((len(texts), self.dimension), np.float32)
        text_to_image = np.empty((len(texts), self.text_to_image_dimension), np.float32)
        for row, words in enumerate(texts):
            outputs = self._cached(words)
            text[row] = outputs[0]
            if len(outputs) > 1:
                text_to_image[row] = outputs[1]
        return TextEncoding(text, text_to_image)

    def clear_cache(self) -> None:
        """Remove all cached embeddings."""
        self._cached.cache_clear()

    def _encode(self, words: str) -> tuple[NDArray[np.float32], ...]:
        """Return the embeddings of a text: float32, (dimension,) each."""
        # Another search runs in the meantime, and while the vectors are compared, which is next.
        INTERPRETER.release()
        tokens = _tokenize(self._tokenizer, words)
        outputs = self._session.run(
            self._outputs,
            {
                IDS: np.array([tokens.ids], np.int64),
                MASK: np.array([tokens.attention_mask], np.int64),
            },
        )
        embeddings = tuple(output[0] for output in outputs)
        return embeddings if self._tower is None else (*embeddings, self._tower.encode(words))


class TextTower:
    """The text tower of a dual encoder. Thread-safe.

    Attributes:
        dimension: number of dimensions of its vectors.
    """

    def __init__(self, session: Any, tokenizer: Any) -> None:
        """Wrap a session of ONNX Runtime and a tokenizer that pads; it will truncate, too.

        Raises:
            TextEncoderError: they do not belong to a text tower, or not together.
        """
        match session.get_inputs(), session.get_outputs():
            case [tensor], [output] if (tensor.name, tensor.type, output.name) == (
                *(IDS, "tensor(int64)"),
                TEXT_TO_IMAGE_EMBEDDING,
            ):
                length, self.dimension = tensor.shape[1], output.shape[1]
            case inputs, outputs:
                names = [tensor.name for tensor in (*inputs, *outputs)]
                raise TextEncoderError(
                    f"found the inputs and outputs {names} of a text tower; expected {IDS}, tensor(int64) "
                    f"[n, tokens], and {TEXT_TO_IMAGE_EMBEDDING}"
                )
        tokenizer.enable_truncation(length)
        self._session, self._tokenizer = session, tokenizer
        tokens = len(_tokenize(tokenizer, "").ids)
        if tokens != length:
            raise TextEncoderError(
                f"found a text tower that reads {length} tokens, and a tokenizer that pads to {tokens}; "
                "expected equal numbers"
            )

    @classmethod
    def from_bytes(cls, onnx: bytes, tokenizer: bytes, threads: int = 1) -> Self:
        """Load a text tower; see :meth:`TextEncoder.from_bytes`.

        Raises:
            TextEncoderError: it cannot be loaded.
        """
        session = open_session(onnx, threads, TextEncoderError)
        return cls(session, _load_tokenizer(tokenizer))

    def encode(self, words: str) -> NDArray[np.float32]:
        """Encode a text: float32, (dimension,), of unit length."""
        ids = np.array([_tokenize(self._tokenizer, words).ids], np.int64)
        (vectors,) = self._session.run([TEXT_TO_IMAGE_EMBEDDING], {IDS: ids})
        vector: NDArray[np.float32] = vectors[0]
        return vector


def _load_tokenizer(content: bytes) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_str(content.decode())
    except Exception as error:  # tokenizers raises plain Exceptions
        raise TextEncoderError(
            f"found {len(content):,} bytes that are not a tokenizer ({error}); expected its JSON"
        ) from error


def _tokenize(tokenizer: Any, words: str) -> Any:
    # JSON may contain lone surrogates, which tokenizers reject.
    return tokenizer.encode(words.encode(errors="replace").decode())
