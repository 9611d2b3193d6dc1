"""Galleries of photos, and the relevance grades of their photos for a query photo."""

import itertools
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import EXCLUDED, Grades
from fb_marketplace.evaluation.retrieval_metrics import Counts

RowIndices: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int32]


class Gallery:
    """Photos to search.

    Attributes:
        photos: one row per photo: ``image_id``, ``product_id``, ``category``, ``category_path``, ``group``
            and ``split``, missing if unknown; and ``copies``, a name that all copies of a photo share.
    """

    def __init__(self, photos: pd.DataFrame) -> None:
        """Set the photos. Their order defines the row numbers."""
        self.photos = photos.reset_index(drop=True)
        self._copies = _codes(self.photos["copies"])
        self._product = _codes(self.photos["product_id"])
        # The photos of a listing share its path, and those of a path its root, even if these are unknown.
        self._path = _codes(self.photos["category_path"], within=self._product)
        self._root = _codes(self.photos["category"], within=self._path)

    def __len__(self) -> int:
        return len(self.photos)

    def among(self, split: str) -> "Gallery":
        """Return a gallery with the photos of a split."""
        return Gallery(self.photos[self.photos["split"] == split])

    def grades(self, queries: RowIndices, rows: RowIndices | None = None) -> Grades:
        """Grade photos for each query.

        Args:
            queries: int64, (queries,), rows of the gallery.
            rows: int64, (queries, hits), the photos of each query to grade; None for all photos.

        Returns:
            int8, (queries, hits) or (queries, photos).
        """

        def same(codes: Codes) -> NDArray[np.bool_]:
            others = codes if rows is None else codes[rows]
            return np.asarray(codes[queries][:, np.newaxis] == others)

        graded = same(self._root).astype(np.int8)
        graded += same(self._path)
        graded += same(self._product)
        graded[same(self._copies)] = EXCLUDED
        return graded

    def is_same_product(self, queries: RowIndices) -> NDArray[np.bool_]:
        """Return which photos are of the query's listing: bool, (queries, photos)."""
        return np.asarray(self._product[queries][:, np.newaxis] == self._product)

    def is_excluded(self, queries: RowIndices) -> NDArray[np.bool_]:
        """Return which photos are the query or its copies: bool, (queries, photos)."""
        return np.asarray(self._copies[queries][:, np.newaxis] == self._copies)

    def available(self, queries: RowIndices) -> Counts:
        """Count the photos of each grade, 0 to 3, for each query: int64, (queries, 4)."""
        at_least = [len(self) - self.copies(queries)]
        for codes in (self._root, self._path, self._product):
            pairs = self._copies.astype(np.int64) * (int(codes.max(initial=0)) + 1) + codes
            _, pair, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
            at_least.append(np.bincount(codes)[codes[queries]] - sizes[pair[queries]])
        return np.stack(
            [*(more - less for more, less in itertools.pairwise(at_least)), at_least[-1]], axis=1
        ).astype(np.int64)

    def copies(self, queries: RowIndices) -> NDArray[np.int64]:
        """Return the number of copies of each query, including itself: int64, (queries,)."""
        return np.bincount(self._copies)[self._copies[queries]]


def make_gallery(
    image_ids: "pd.Series[Any] | list[str]",
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
) -> Gallery:
    """Build a gallery of photos, in this order.

    Args:
        image_ids: the photos.
        products: ``product_id``, ``category`` and ``category_path`` of the listings.
        splits: listing, group and split of each photo.
        duplicate_groups: copies and near-duplicates.
    """
    photos = (
        pd.DataFrame({"image_id": pd.Series(image_ids, dtype="str")})
        .merge(
            splits.loc[splits["image_id"].notna(), ["image_id", "product_id", "group", "split"]],
            on="image_id",
            how="left",
            validate="1:1",
        )
        .merge(
            products[["product_id", "category", "category_path"]],
            on="product_id",
            how="left",
            validate="m:1",
        )
    )
    names = duplicate_groups.set_index("image_id")["group"]
    photos["copies"] = photos["image_id"].map(names).astype("str").fillna(photos["image_id"])
    return Gallery(photos)


def _codes(names: "pd.Series[Any]", within: Codes | None = None) -> Codes:
    """Return an integer code per name: int32, (photos,).

    Each missing name gets a unique code, or one code per code of ``within``.
    """
    codes, known = pd.factorize(names)
    missing = codes < 0
    others = np.arange(len(codes)) if within is None else within
    codes[missing] = len(known) + others[missing]
    return codes.astype(np.int32)
