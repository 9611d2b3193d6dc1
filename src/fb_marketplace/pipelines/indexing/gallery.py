"""What a photo has to do with another: the grades that a search is measured by."""

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
    """Photos among which others are searched for.

    Attributes:
        photos: one row each: ``image_id``, ``product_id``, ``category``, ``category_path``,
            ``group`` and ``split``, missing where they are not known; and ``copies``, the name that
            a photo shares with its copies.
    """

    def __init__(self, photos: pd.DataFrame) -> None:
        """Take photos, in the order in which they will be counted."""
        self.photos = photos.reset_index(drop=True)
        named = ("product_id", "category_path", "category", "copies")
        self._codes = {name: _codes(self.photos[name]) for name in named}

    def __len__(self) -> int:
        return len(self.photos)

    def among(self, split: str) -> "Gallery":
        """Give the photos of a split alone."""
        return Gallery(self.photos[self.photos["split"] == split])

    def grades(self, queries: RowIndices) -> Grades:
        """Grade every photo for each of these queries, which are places in the gallery.

        Returns:
            int8, (queries, photos).
        """
        graded = np.full((len(queries), len(self)), UNRELATED, dtype=np.int8)
        # What comes later holds more: a listing has one path, and a path one root.
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
        """How many photos the largest set of copies has; one where there are no copies."""
        return int(np.bincount(self._codes["copies"]).max(initial=1))


def make_gallery(
    image_ids: "pd.Series[Any] | list[str]",
    products: pd.DataFrame,
    splits: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
) -> Gallery:
    """Say of photos, in this order, whose they are, what they show and which are copies.

    Args:
        image_ids: the photos.
        products: ``product_id``, ``category`` and ``category_path`` of the listings.
        splits: where each photo belongs.
        duplicate_groups: photos that are the same or nearly.
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
    """Number names; each missing one has a number of its own, as nothing is known to be like it."""
    codes, known = pd.factorize(names)
    missing = codes < 0
    codes[missing] = len(known) + np.arange(missing.sum())
    return codes.astype(np.int32)
