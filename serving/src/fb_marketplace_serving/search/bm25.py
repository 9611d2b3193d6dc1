"""Words in, the documents that hold them out: what each term adds to a score, made beforehand.

BM25 (Robertson et al., 1994) adds up one number for each term that a query and a document share. It
depends on the query no further, so that a search is a sum over a few rows of a table.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search import tokenizer as terms_module
from fb_marketplace_serving.search.tokenizer import terms

COLUMNS: Final = ("term", "documents", "scores")
DOCUMENTS, TERMS_VERSION = b"documents", b"terms_version"
"""What the metadata of the Parquet file says."""


class BM25IndexError(ValueError):
    """Bytes that are no word index; says what was found and what was expected."""


class SparseScores(NamedTuple):
    """What each term adds to each document, in compressed form; see :class:`BM25Index`."""

    vocabulary: tuple[str, ...]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]


class BM25Index:
    """What each term adds to the score of each document. Safe to share between threads.

    Attributes:
        documents: how many there are.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        scores: NDArray[np.float32],
        documents: int,
    ) -> None:
        """Take a matrix of terms by documents, in compressed form, row by row.

        Args:
            vocabulary: the terms.
            starts: int64, (terms + 1,), where each term's documents begin, and at last where they end.
            rows: int32, documents, each once a term.
            scores: float32, what the term adds to the score of the document at the same place.
            documents: how many there are.

        Raises:
            WordIndexError: these are not such a matrix.
        """
        fit = (
            len(starts) == len(vocabulary) + 1
            and starts[0] == 0
            and len(rows) == len(scores) == starts[-1]
            and bool((np.diff(starts) >= 0).all())
            and (not len(rows) or (rows.min() >= 0 and rows.max() < documents))
        )
        if not fit:
            raise BM25IndexError(
                f"found {len(vocabulary):,} terms, {len(rows):,} places and {len(scores):,} scores of "
                f"{documents:,} documents; expected a score for each place, and places below {documents:,}"
            )
        self.documents = documents
        self._vocabulary = tuple(vocabulary)
        self._place = {term: place for place, term in enumerate(vocabulary)}
        self._starts, self._rows, self._scores = starts, rows, scores

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Open what :meth:`to_bytes` gave.

        Raises:
            WordIndexError: it is something else, or made of other terms than ``terms.VERSION`` gives.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table: Any = pq.ParquetFile(io.BytesIO(data)).read()
        except (pa.ArrowInvalid, OSError) as error:
            raise BM25IndexError(
                f"found {len(data):,} bytes that are no Parquet ({error})"
            ) from error
        told = table.schema.metadata or {}
        names, types = tuple(table.schema.names), table.schema.types
        if names != COLUMNS or types != _types() or any(each.null_count for each in table.columns):
            raise BM25IndexError(
                f"found the columns {names} of {', '.join(map(str, types))}; expected {COLUMNS} of "
                f"{', '.join(map(str, _types()))}, with a value in each row"
            )
        numbers = [told.get(name, b"") for name in (DOCUMENTS, TERMS_VERSION)]
        if not all(number.isdigit() for number in numbers):
            raise BM25IndexError(
                f"found {numbers} in its metadata; expected the number of documents and a version of terms"
            )
        if int(told[TERMS_VERSION]) != terms_module.VERSION:
            raise BM25IndexError(
                f"found terms of version {int(told[TERMS_VERSION])}; expected {terms_module.VERSION}: "
                "run the pipeline text again"
            )
        rows, scores = (_joined(table.column(name)) for name in COLUMNS[1:])
        return cls(
            table.column("term").to_pylist(),
            np.concatenate(
                [[0], np.cumsum(_lengths(table.column("documents")), dtype=np.int64)]
            ).astype(np.int64),
            rows.astype(np.int32, copy=False),
            scores.astype(np.float32, copy=False),
            int(told[DOCUMENTS]),
        )

    def to_bytes(self) -> bytes:
        """Give it as Parquet, a row a term; the same bytes each time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        starts = pa.array(self._starts, pa.int64())
        columns = [
            pa.array(self._vocabulary, pa.string()),
            *(
                pa.LargeListArray.from_arrays(starts, pa.array(values))
                for values in (self._rows, self._scores)
            ),
        ]
        table = pa.table(columns, list(COLUMNS)).replace_schema_metadata(
            {DOCUMENTS: str(self.documents), TERMS_VERSION: str(terms_module.VERSION)}
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        return buffer.getvalue()

    @property
    def matrix(self) -> SparseScores:
        """Terms by documents."""
        return SparseScores(self._vocabulary, self._starts, self._rows, self._scores)

    def scores(self, query: str) -> NDArray[np.float32]:
        """Score every document for a query: float32, (documents,), zero where they share no term."""
        found = np.zeros(self.documents, np.float32)
        for place in self._known(query).values():
            start, end = self._starts[place], self._starts[place + 1]
            # A term has a document once, so that nothing is added to a place twice.
            found[self._rows[start:end]] += self._scores[start:end]
        return found

    def parts(self, query: str, document: int) -> dict[str, float]:
        """Give what each term of a query adds to the score of a document, the most first."""
        found = {}
        for term, place in self._known(query).items():
            start, end = self._starts[place], self._starts[place + 1]
            there = np.flatnonzero(self._rows[start:end] == document)
            if len(there):
                found[term] = float(self._scores[start + there[0]])
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def _known(self, query: str) -> Mapping[str, int]:
        """Give the places of a query's terms, each once, without those that no document has."""
        asked = dict.fromkeys(terms(query))
        return {term: self._place[term] for term in asked if term in self._place}


def _types() -> list[Any]:
    import pyarrow as pa

    return [pa.string(), pa.large_list(pa.int32()), pa.large_list(pa.float32())]


def _joined(column: Any) -> NDArray[Any]:
    """Give the values of a column of lists, one list after the other."""
    parts = [chunk.flatten() for chunk in column.chunks]
    missing = sum(part.null_count for part in parts)
    if missing:
        raise BM25IndexError(f"found {missing:,} missing values in its lists; expected none")
    # Not to_numpy, which imports pandas where it can: seconds of a server's start.
    return np.concatenate([np.from_dlpack(part) for part in parts]) if parts else np.empty(0)


def _lengths(column: Any) -> NDArray[np.int64]:
    parts = [np.from_dlpack(chunk.value_lengths()) for chunk in column.chunks]
    lengths: NDArray[np.int64] = (
        np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)
    )
    return lengths
