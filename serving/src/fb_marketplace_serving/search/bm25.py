"""BM25 (Robertson et al., 1994), with the contribution of each term to each document precomputed.

The score of a document is the sum of the contributions of the query's terms. These do not depend on the
query, so a search only adds up a few rows of a sparse matrix.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search import tokenizer
from fb_marketplace_serving.storage.parquet import read_parquet, write_parquet
from fb_marketplace_serving.storage.private_file import Content

COLUMNS: Final = ("term", "documents", "scores", "in_title")
DOCUMENTS, TERMS_VERSION = b"documents", b"terms_version"
"""Keys of the Parquet metadata."""

MAX_GROUPS: Final = 3**9
"""Maximum number of groups before those without documents are dropped."""


class BM25IndexError(ValueError):
    """Bytes that are not a BM25 index."""


class SparseScores(NamedTuple):
    """Sparse term-by-document matrix of scores, in CSR format; see :class:`BM25Index`."""

    vocabulary: tuple[str, ...]
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    in_title: NDArray[np.int8]


class TermMatches(NamedTuple):
    """The documents with terms of a query: their BM25 scores, and shares of the terms that they have.

    Terms are weighted by their rarity. Documents with the same terms in the title and in the description
    form a group: they have equal shares.

    Attributes:
        documents: int64, (matches,), the documents with at least one of the terms, sorted.
        scores: float32, (matches,), their scores.
        group: int32, (matches,), their groups, from 1. All other documents are in group 0.
        title_of_group: float32, (groups,), share of the terms in the title.
        text_of_group: float32, (groups,), share in the title or the description.
        unknown: share of the terms that no document has.
        terms: number of distinct terms.
        total: number of documents of the index.
    """

    documents: NDArray[np.int64]
    scores: NDArray[np.float32]
    group: NDArray[np.int32]
    title_of_group: NDArray[np.float32]
    text_of_group: NDArray[np.float32]
    unknown: float
    terms: int
    total: int

    @property
    def title(self) -> NDArray[np.float32]:
        """Share of the terms in the title: float32, (total,)."""
        shares = np.zeros(self.total, np.float32)
        shares[self.documents] = self.title_of_group[self.group]
        return shares

    @property
    def text(self) -> NDArray[np.float32]:
        """Share of the terms in the title or the description: float32, (total,)."""
        shares = np.zeros(self.total, np.float32)
        shares[self.documents] = self.text_of_group[self.group]
        return shares

    def of(self, documents: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the scores and groups of documents, 0 for those without any of the terms.

        Returns:
            float32 and int32, (documents,).
        """
        if not len(self.documents):
            return np.zeros(len(documents), np.float32), np.zeros(len(documents), np.int32)
        places = np.searchsorted(self.documents, documents)
        np.minimum(places, len(self.documents) - 1, out=places)
        is_match = self.documents[places] == documents
        return self.scores[places] * is_match, self.group[places] * is_match

    def groups_of(self, documents: NDArray[np.integer]) -> NDArray[np.int32]:
        """Return the groups of documents: int32, (documents,)."""
        return self.of(documents)[1]


class BM25Index:
    """Contributions of terms to the scores of documents. Thread-safe.

    Attributes:
        documents: number of documents.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        scores: NDArray[np.float32],
        documents: int,
        in_title: NDArray[np.int8] | None = None,
    ) -> None:
        """Wrap a sparse term-by-document matrix in CSR format: one row per term.

        Args:
            vocabulary: the terms.
            starts: int64, (terms + 1,), row pointers: offset of each term's first entry, and the end.
            rows: int32, (entries,), document of each entry; a document occurs once per term.
            scores: float32, (entries,), contribution of the term to the score of the document.
            documents: number of documents.
            in_title: int8, (entries,), 1 if the term occurs in the document's title; none by default.

        Raises:
            BM25IndexError: the arrays do not form such a matrix.
        """
        in_title = np.zeros(len(rows), np.int8) if in_title is None else in_title
        is_valid = (
            len(starts) == len(vocabulary) + 1
            and starts[0] == 0
            and len(rows) == len(scores) == len(in_title) == starts[-1]
            and bool((np.diff(starts) >= 0).all())
            and (not len(rows) or (rows.min() >= 0 and rows.max() < documents))
        )
        if not is_valid:
            raise BM25IndexError(
                f"found {len(vocabulary):,} terms, {len(rows):,} row indices and {len(scores):,} scores "
                f"for {documents:,} documents; expected one score per row index, and row indices below "
                f"{documents:,}. Rerun `kedro run --pipeline=text`."
            )
        self.documents = documents
        self._vocabulary = tuple(vocabulary)
        self._row_of_term = {term: row for row, term in enumerate(vocabulary)}
        self._starts, self._rows, self._scores = starts, rows, scores
        self._in_title = in_title

    @classmethod
    def from_bytes(cls, data: Content, folder: Path | None = None) -> Self:
        """Open an index that :meth:`to_bytes` wrote.

        Args:
            data: the index.
            folder: folder for a private file that holds the scores; None to hold them in memory.

        Raises:
            BM25IndexError: the bytes are not a BM25 index, or have another ``tokenizer.VERSION``.
            OSError: the folder cannot be written, or the disk is full.
        """
        table = read_parquet(data, COLUMNS, BM25IndexError, folder)
        metadata, types = table.schema.metadata or {}, table.schema.types
        if types != _types() or any(column.null_count for column in table.columns):
            raise BM25IndexError(
                f"found columns of types {', '.join(map(str, types))}; expected "
                f"{', '.join(map(str, _types()))}, without missing values"
            )
        numbers = [metadata.get(name, b"") for name in (DOCUMENTS, TERMS_VERSION)]
        if not all(number.isdigit() for number in numbers):
            raise BM25IndexError(
                f"found {numbers} in the metadata; expected the number of documents and the version of the "
                "tokenizer"
            )
        if int(metadata[TERMS_VERSION]) != tokenizer.VERSION:
            raise BM25IndexError(
                f"found terms of tokenizer version {int(metadata[TERMS_VERSION])}; expected "
                f"{tokenizer.VERSION}. Rerun `kedro run --pipeline=text`."
            )
        rows, scores, in_title = (_flatten(table.column(name)) for name in COLUMNS[1:])
        ends = np.cumsum(_list_lengths(table.column("documents")), dtype=np.int64)
        return cls(
            table.column("term").to_pylist(),
            np.concatenate([[0], ends]).astype(np.int64),
            rows.astype(np.int32, copy=False),
            scores.astype(np.float32, copy=False),
            int(metadata[DOCUMENTS]),
            in_title.astype(np.int8, copy=False),
        )

    def to_bytes(self) -> bytes:
        """Return the index as Parquet, one row per term; the same bytes each time."""
        import pyarrow as pa

        starts = pa.array(self._starts, pa.int64())
        lists = (
            pa.LargeListArray.from_arrays(starts, pa.array(values))
            for values in (self._rows, self._scores, self._in_title)
        )
        table = pa.table([pa.array(self._vocabulary, pa.string()), *lists], list(COLUMNS))
        metadata = {DOCUMENTS: str(self.documents), TERMS_VERSION: str(tokenizer.VERSION)}
        return write_parquet(table.replace_schema_metadata(metadata))

    @property
    def matrix(self) -> SparseScores:
        """The term-by-document scores."""
        return SparseScores(
            self._vocabulary, self._starts, self._rows, self._scores, self._in_title
        )

    def scores(self, query: str) -> NDArray[np.float32]:
        """Compute the score of every document.

        Returns:
            float32, (documents,); zero for a document that shares no term with the query.
        """
        matches = self.match(query)
        totals = np.zeros(self.documents, np.float32)
        totals[matches.documents] = matches.scores
        return totals

    def documents_with(self, term: str) -> NDArray[np.int32]:
        """Return the documents that have a term: int32, (documents,), empty for an unknown term."""
        row = self._row_of_term.get(term)
        if row is None:
            return self._rows[:0]
        return self._rows[self._starts[row] : self._starts[row + 1]]

    def match(self, query: str) -> TermMatches:
        """Score the documents with terms of the query, and group them by the terms that they have."""
        # NumPy converts indices of other types, once to read and once to write.
        rows_by_term = {
            term: self.documents_with(term).astype(np.intp)
            for term in dict.fromkeys(tokenizer.terms(query))
        }
        # As in BM25: the logarithm of the odds against a document having the term.
        weights = {
            term: float(np.log1p((self.documents - len(rows) + 0.5) / (len(rows) + 0.5)))
            for term, rows in rows_by_term.items()
        }
        total = sum(weights.values()) or 1.0
        is_match = np.zeros(self.documents, np.bool_)
        for rows in rows_by_term.values():
            is_match[rows] = True
        documents = np.flatnonzero(is_match)
        place = np.empty(self.documents, np.intp)  # written and read for the matches only
        place[documents] = np.arange(len(documents))
        scores, group = np.zeros(len(documents), np.float32), np.zeros(len(documents), np.int32)
        shares = np.zeros((2, 1), np.float32)  # in the title, and in the text, by group
        for term, rows in rows_by_term.items():
            if not len(rows):
                continue
            if 3 * shares.shape[1] > MAX_GROUPS:
                group, is_used = _renumber(group, shares.shape[1])
                shares = shares[:, is_used]
            start, share = self._starts[self._row_of_term[term]], np.float32(weights[term] / total)
            end = start + len(rows)
            # A document occurs once per term, so no index is repeated.
            places = place[rows]
            scores[places] += self._scores[start:end]
            # Each group becomes three: without the term, with it in the description, or in the title.
            is_in = 1 + self._in_title[start:end]
            group[places] += np.multiply(is_in, shares.shape[1], dtype=np.int32)
            added = np.array([[[0], [0], [share]], [[0], [share], [share]]], np.float32)
            shares = (added + shares[:, np.newaxis]).reshape(2, -1)
        unknown = sum(weights[term] for term, rows in rows_by_term.items() if not len(rows)) / total
        return TermMatches(
            documents,
            scores,
            group,
            shares[0],
            shares[1],
            unknown,
            len(rows_by_term),
            self.documents,
        )

    def parts(self, query: str, document: int) -> dict[str, float]:
        """Return the contribution of each query term to a document's score, largest first."""
        contributions = {}
        for term, row in self._known_terms(query).items():
            start, end = self._starts[row], self._starts[row + 1]
            matches = np.flatnonzero(self._rows[start:end] == document)
            if len(matches):
                contributions[term] = float(self._scores[start + matches[0]])
        return dict(sorted(contributions.items(), key=lambda item: -item[1]))

    def _known_terms(self, query: str) -> Mapping[str, int]:
        """Return the distinct terms of a query that are in the vocabulary, with their row in the matrix."""
        distinct = dict.fromkeys(tokenizer.terms(query))
        return {term: self._row_of_term[term] for term in distinct if term in self._row_of_term}


def _renumber(group: NDArray[np.int32], groups: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Number the groups that have documents, and group 0, from 0.

    Returns:
        int32, (documents,), the new numbers; and bool, (groups,), the groups that are used.
    """
    is_used = np.zeros(groups, np.bool_)
    is_used[group] = True
    is_used[0] = True
    return (np.cumsum(is_used, dtype=np.int32) - 1)[group], is_used


def _types() -> list[Any]:
    import pyarrow as pa

    return [pa.string(), *(pa.large_list(kind) for kind in (pa.int32(), pa.float32(), pa.int8()))]


def _flatten(column: Any) -> NDArray[Any]:
    """Return the values of a column of lists, one list after the other."""
    parts = [chunk.flatten() for chunk in column.chunks]
    missing = sum(part.null_count for part in parts)
    if missing:
        raise BM25IndexError(f"found {missing:,} missing values in the lists; expected none")
    # Not to_numpy: it imports pandas if that is installed, which takes seconds.
    arrays = [np.from_dlpack(part) for part in parts]
    if len(arrays) == 1:
        return arrays[0]  # a view, which may be mapped
    return np.concatenate(arrays) if arrays else np.empty(0)


def _list_lengths(column: Any) -> NDArray[np.int64]:
    parts = [np.from_dlpack(chunk.value_lengths()) for chunk in column.chunks]
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)
