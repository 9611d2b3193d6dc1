"""Listings joined with their split and group."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.skipping import InsufficientDataError

MIN_PRICES: Final = 20
"""Minimum number of listings with a price that the price models are trained and evaluated on."""


def join_splits(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Add ``group`` and ``split`` to each listing; sorted by ``product_id``.

    Raises:
        InsufficientDataError: a split has no listing.
    """
    membership = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    listed = products.merge(membership, on="product_id", validate="1:1")
    counts = {
        split: int((listed["split"] == split).sum()) for split in ("train", *EVALUATION_SPLITS)
    }
    if min(counts.values()) == 0:
        raise InsufficientDataError(
            f"Baselines need listings in every split, but the counts are {counts}. Add listings, or "
            "change the shares under `splits:` in parameters_cleaning.yml."
        )
    return listed.sort_values("product_id", ignore_index=True)


def filter_meant_prices(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Join the splits of the listings whose price has no flag, such as ``missing`` or ``joke``.

    Raises:
        InsufficientDataError: there are too few, or all prices are equal, or a split has none.
    """
    meant = products[products["price_flag"].isna()]
    different = meant["price"].nunique()
    if len(meant) < MIN_PRICES or different < 2:
        raise InsufficientDataError(
            f"{len(meant):,} of {len(products):,} listings have a usable price, with {different:,} "
            f"different values; expected at least {MIN_PRICES} listings, and two values"
        )
    return join_splits(meant, splits)


def split_rows(listed: pd.DataFrame, split: str) -> NDArray[np.int64]:
    """Return the positions of a split's rows: int64, (rows,)."""
    return np.flatnonzero(listed["split"] == split).astype(np.int64)
