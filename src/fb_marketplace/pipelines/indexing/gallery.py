"""Galleries of photos, and the relevance grades of their photos for a query photo."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.relevance import (
    EXCLUDED,
    SAME_PATH,
    SAME_PRODUCT,
    SAME_ROOT,
    UNRELATED,
    Grades,
)

RowIndices = NDArray[np.int64]


class Gallery:
    """Photos to search.

    Attributes:
        photos: one row per photo: ``image_id``, ``product_id``, ``category``, ``category_path``, ``group``
            and ``split``, missing if unknown; and ``copies``, a name that all copies of a photo share.
    """

    def __init__(self, photos: pd.DataFrame) -> None:
        """Set the photos. Their order defines the row numbers."""
        self.photos = photos.reset_index(drop=True)
        named = ("product_id", "category_path", "category", "copies")
        self._codes = {name: _codes(self.photos[name]) for name in named}

    def __len__(self) -> int:
        return len(self.photos)

    def among(self, split: str) -> "Gallery":
        """Return a gallery with the photos of a split."""
        return Gallery(self.photos[self.photos["split"] == split])

    def grades(self, queries: RowIndices) -> Grades:
        """Grade every photo for each query.

        Args:
            queries: int64, (queries,), rows of the gallery.

        Returns:
            int8, (queries, photos).
        """
        graded = np.full((len(queries), len(self)), UNRELATED, dtype=np.int8)
        # Later grades overwrite earlier ones: a listing has one path, and a path has one root.
        for name, grade in (
            ("category", SAME_ROOT),
            ("category_path", SAME_PATH),
            ("product_id", SAME_PRODUCT),
            ("copies", EXCLUDED),
        ):
            codes = self._codes[name]
            graded[codes[queries][:, np.newaxis] == codes] = grade
        return graded

    @property
    def most_copies(self) -> int:
        """Size of the largest set of copies; one if there are no copies."""
        return int(np.bincount(self._codes["copies"]).max(initial=1))


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


def _codes(names: "pd.Series[Any]") -> NDArray[np.int32]:
    """Return an integer code per name: int32, (photos,). Each missing name gets a unique code."""
    codes, known = pd.factorize(names)
    missing = codes < 0
    codes[missing] = len(known) + np.arange(missing.sum())
    return codes.astype(np.int32)
