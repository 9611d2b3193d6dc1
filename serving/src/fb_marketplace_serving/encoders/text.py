"""Texts in; what they mean, and where photos of it would lie, out: through ONNX Runtime.

The tokenizer travels beside the graph as one JSON file. Pooling, unit length and the projection to
embeddings of photos are inside the graph.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

IDS: Final = "ids"
MASK: Final = "mask"
MEANING: Final = "meaning"
PICTURED: Final = "pictured"

LONGEST: Final = 128
"""Tokens that are read of a text; the model was trained on so many."""


class TextEncoderError(ValueError):
    """A model or tokenizer that is none; says what was found and what was expected."""


class TextEncoding(NamedTuple):
    """What the encoder makes of n texts.

    Attributes:
        meaning: float32, (n, dimension), each of length one: near to that of texts that say the same.
        pictured: float32, (n, pictured dimension), each of length one: near to the pictures of what the
            text
            names. Of width zero where the graph gives none.
    """

    meaning: NDArray[np.float32]
    pictured: NDArray[np.float32]


class TextEncoder:
    """An opened text encoder. Safe to share between threads.

    Attributes:
        dimension: size of a meaning.
        pictured_dimension: size of what is pictured; zero where the graph gives none.
    """

    def __init__(self, session: Any, tokenizer: Any) -> None:
        """Take a session of ONNX Runtime and a tokenizer; see :meth:`from_bytes`."""
        found = sorted((each.name, each.type) for each in session.get_inputs())
        if found != [(IDS, "tensor(int64)"), (MASK, "tensor(int64)")]:
            raise TextEncoderError(
                f"found the inputs {found}; expected {IDS} and {MASK}, tensor(int64) [n, tokens]"
            )
        widths = {
            each.name: each.shape[1]
            for each in session.get_outputs()
            if len(each.shape) == 2 and isinstance(each.shape[1], int)
        }
        if MEANING not in widths:
            raise TextEncoderError(
                f"found outputs of fixed width {sorted(widths)}; expected among them {MEANING}"
            )
        self.dimension = widths[MEANING]
        self.pictured_dimension = widths.get(PICTURED, 0)
        self._outputs = [name for name in (MEANING, PICTURED) if name in widths]
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def from_bytes(cls, onnx: bytes, tokenizer: bytes, threads: int = 1) -> Self:
        """Open a text encoder.

        Args:
            onnx: an ONNX graph, its weights inside: ``ids`` and ``mask`` int64 (n, tokens) in, ``meaning``
                float32 (n, dimension) and, if it has learned it, ``pictured`` out.
            tokenizer: of the library ``tokenizers``, JSON.
            threads: threads that one batch may use; a query is too short to share.

        Raises:
            TextEncoderError: one of them is not that.
        """
        import onnxruntime as ort
        from tokenizers import Tokenizer

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's errors share no narrower base
            raise TextEncoderError(
                f"found {len(onnx):,} bytes that ONNX Runtime cannot open "
                f"({str(error).partition(chr(10))[0]}); expected one ONNX file with its weights inside"
            ) from error
        try:
            opened = Tokenizer.from_str(tokenizer.decode())
        except Exception as error:  # it raises bare Exceptions
            raise TextEncoderError(
                f"found {len(tokenizer):,} bytes that are no tokenizer ({error}); expected its JSON"
            ) from error
        opened.enable_truncation(LONGEST)
        opened.no_padding()
        return cls(session, opened)

    def encode(self, texts: Sequence[str]) -> TextEncoding:
        """Encode texts, each by itself.

        A batch would fill the short ones up, and gains nothing on a core; and to a quantised graph a text
        would say another thing beside others.
        """
        meaning = np.empty((len(texts), self.dimension), np.float32)
        pictured = np.empty((len(texts), self.pictured_dimension), np.float32)
        for row, text in enumerate(texts):
            # JSON may hold half a character, which the tokenizer takes for no text at all.
            read = self._tokenizer.encode(text.encode(errors="replace").decode())
            told = {IDS: [read.ids], MASK: [read.attention_mask]}
            found = self._session.run(
                self._outputs, {name: np.array(value, np.int64) for name, value in told.items()}
            )
            meaning[row] = found[0][0]
            if len(found) > 1:
                pictured[row] = found[1][0]
        return TextEncoding(meaning, pictured)
