"""Attributes of all listings, for filters and facets."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.listings.attributes import Attribute, AttributeKind
from fb_marketplace_serving.storage.columns import text_array

FACETS: Final[tuple[AttributeKind, ...]] = (
    "brand",
    "colour",
    "material",
    "condition",
    "size",
    "age",
    "seats",
    "storage",
)
"""Kinds that results are counted by. Other measures differ from listing to listing."""

MAX_VALUES: Final = 8
MIN_LISTINGS: Final = 2


def attributes_text(attributes: Iterable[Attribute]) -> str:
    """Return attributes as a text, one a line: the column ``attributes`` of listing features."""
    return "\n".join(f"{attribute.kind}:{attribute.value}" for attribute in attributes)


@dataclass(frozen=True, slots=True)
class AttributeCount:
    """Number of listings with an attribute."""

    kind: AttributeKind
    value: str
    count: int


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Attributes of listings, in CSR format.

    Attributes:
        names: the distinct attributes, as ``kind:value``.
        starts: int64, (listings + 1,), offset of each listing's first attribute, and the end.
        codes: int32, (entries,), indices in ``names``.
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    codes: NDArray[np.int32]

    @classmethod
    def from_texts(cls, texts: Any) -> Self:
        """Read attributes.

        Args:
            texts: a text of each listing, see :func:`attributes_text`; a sequence or an Arrow array.
        """
        import pyarrow as pa

        column = texts if isinstance(texts, pa.Array) else text_array(texts)
        encoded = column.dictionary_encode()
        parts = [text.split("\n") if text else [] for text in encoded.dictionary.to_pylist()]
        code_of = {name: code for code, name in enumerate(dict.fromkeys(chain(*parts)))}
        text_of_row = np.array(np.from_dlpack(encoded.indices), np.int64)
        by_text = cls(
            tuple(code_of),
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
            np.array([code_of[name] for part in parts for name in part], np.int32),
        )
        return by_text.take(text_of_row)

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return the attributes of some listings."""
        entries, lengths = self._entries(rows)
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return replace(self, starts=starts, codes=self.codes[entries])

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return which listings have an attribute, ``kind:value``: bool, (listings,)."""
        mask = np.zeros(len(self.starts) - 1, np.bool_)
        code = self._code_of.get(name)
        if code is not None:
            mask[self._listings[self.codes == code]] = True
        return mask

    def count_values(self, rows: NDArray[np.integer]) -> list[AttributeCount]:
        """Count the attributes of some listings, by kind, then the most frequent first.

        Returns:
            At most ``MAX_VALUES`` of each of ``FACETS``, with at least ``MIN_LISTINGS`` listings.
        """
        counts = np.bincount(self.codes[self._entries(rows)[0]], minlength=len(self.names))
        frequent = self._facet_codes[counts[self._facet_codes] >= MIN_LISTINGS]
        by_kind: dict[str, list[tuple[int, str]]] = {name: [] for name in FACETS}
        for code, count in zip(frequent.tolist(), counts[frequent].tolist(), strict=True):
            kind, _, value = self.names[code].partition(":")
            by_kind[kind].append((-count, value))
        return [
            AttributeCount(kind, value, -count)
            for kind in FACETS
            for count, value in sorted(by_kind[kind])[:MAX_VALUES]
        ]

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    @cached_property
    def _listings(self) -> NDArray[np.int32]:
        """The listing of each entry: int32, (entries,)."""
        lengths = np.diff(self.starts)
        return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)

    @cached_property
    def _facet_codes(self) -> NDArray[np.int64]:
        """The codes of attributes of ``FACETS``, in ascending order."""
        kinds = (name.partition(":")[0] for name in self.names)
        return np.flatnonzero([kind in FACETS for kind in kinds])

    def _entries(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the entries of some listings, and the number of entries of each."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        ends = np.cumsum(lengths)
        entries = np.repeat(starts - ends + lengths, lengths)
        entries += np.arange(len(entries))
        return entries, lengths
