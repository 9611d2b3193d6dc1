"""Listings with the split and the group that each belongs to."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.schemas.splits import EVALUATION_SPLITS


def join_splits(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Add ``group`` and ``split`` to each listing; sorted by ``product_id``.

    Raises:
        UserError: a split has no listing.
    """
    where = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    listed = products.merge(where, on="product_id", validate="1:1")
    counts = {
        split: int((listed["split"] == split).sum()) for split in ("train", *EVALUATION_SPLITS)
    }
    if min(counts.values()) == 0:
        raise UserError(
            f"baselines need listings in every split; found {counts}. Give more listings, or other "
            "shares under `splits:` in parameters_cleaning.yml"
        )
    return listed.sort_values("product_id", ignore_index=True)


def filter_meant_prices(products: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Do the same for the listings whose price is meant: neither zero, nor a joke, nor absurd."""
    return join_splits(products[products["price_flag"].isna()], splits)


def split_rows(listed: pd.DataFrame, split: str) -> NDArray[np.int64]:
    """Give the positions of a split's rows."""
    return np.flatnonzero(listed["split"] == split).astype(np.int64)


def group_folds(
    groups: pd.Series, count: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Part listings into folds, no group in two.

    Args:
        groups: of each listing.
        count: of folds; fewer where there are fewer groups.
        seed: by which groups are shuffled.

    Yields:
        Positions to learn from, and positions to answer.

    Raises:
        UserError: there is only one group.
    """
    from sklearn.model_selection import GroupKFold

    found = groups.nunique()
    if found < 2:
        raise UserError(
            f"out-of-fold answers need two groups of training listings; found {found}. "
            "Give more listings"
        )
    kept = GroupKFold(min(count, found), shuffle=True, random_state=seed)
    yield from kept.split(groups, groups=groups)
