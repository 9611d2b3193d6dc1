"""Splits into train, validation and test. Listings that share a photo or description stay together."""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.graph import connected_components
from fb_marketplace.parameters.cleaning import SplitParameters
from fb_marketplace.pipelines.cleaning import text
from fb_marketplace.schemas.splits import SPLITS
from fb_marketplace.storage.fingerprints import stage_digest

REVISION: Final = 1
"""Increase it if the same parameters would give other splits."""


def split_listings(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    previous_splits: pd.DataFrame,
    previous_training_listings: pd.DataFrame,
    parameters: SplitParameters,
) -> pd.DataFrame:
    """Assign each listing, with all its photos, to a split.

    Listings that share a duplicate photo or a description form a group, unless very many listings share it,
    as a placeholder or boilerplate. A group has the id of its oldest listing, and a hash of that id and a
    salt gives its split. So splits stay stable when listings are added or removed.

    Models are kept while listings change, and never evaluated on listings that they were trained on. A
    group is in train if one of its members was in train in an earlier run with the same parameters, or in
    the latest training of the network; otherwise in validation if one was in validation.

    Args:
        products: the listings.
        image_products: ``image_id`` and ``product_id`` of each photo.
        duplicate_groups: ``image_id`` and ``group`` of duplicate photos.
        previous_splits: splits of an earlier run; may be empty.
        previous_training_listings: listings of the latest training, which may have been removed since, and
            their splits; may be empty.
        parameters: salt and shares.

    Returns:
        One row per photo, and one without ``image_id`` per listing without photos:
        ``image_id``, ``product_id``, ``group``, ``split``, and ``rule``, a digest of the parameters.
    """
    oldest_first = products.sort_values("row", ignore_index=True)
    position = pd.Series(oldest_first.index, index=oldest_first["product_id"])
    photos = image_products.assign(position=image_products["product_id"].map(position))
    duplicates = photos.merge(duplicate_groups[["image_id", "group"]], on="image_id")
    sharing = [
        duplicates.groupby("group")["position"].agg(list),
        _same_description(oldest_first, parameters.min_words_for_duplicate_description),
    ]
    limit = parameters.max_listings_per_photo
    labels = join_groups(
        len(oldest_first),
        [[members for members in sets if len(set(members)) <= limit] for sets in sharing],
    )
    groups = oldest_first["product_id"].to_numpy()[labels]
    rule = stage_digest("splits", REVISION, parameters)
    previous = _previous_split_by_product([previous_training_listings, previous_splits], rule)
    assigned: dict[str, str] = {}
    for product, group in zip(oldest_first["product_id"], groups, strict=True):
        if product in previous:
            splits = (previous[product], assigned.get(group, SPLITS[-1]))
            assigned[group] = min(splits, key=SPLITS.index)
    listings = oldest_first[["product_id"]].assign(
        group=groups,
        split=[assigned.get(group) or split_for_group(group, parameters) for group in groups],
        rule=rule,
    )
    with_photos = listings.merge(
        image_products[["image_id", "product_id"]], on="product_id", how="left"
    )
    columns = ["image_id", "product_id", "group", "split", "rule"]
    return (
        with_photos[columns]
        .astype("str")
        .sort_values(["product_id", "image_id"], ignore_index=True)
    )


def split_for_group(group: str, parameters: SplitParameters) -> str:
    """Return the split of a group by a hash of its id."""
    digest = hashlib.sha256(f"{parameters.salt}/{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < parameters.train:
        return "train"
    return "validation" if position < parameters.train + parameters.validation else "test"


def join_groups(count: int, sets: Iterable[Iterable[list[int]]]) -> NDArray[np.int64]:
    """Group all items that occur together in any set.

    Args:
        count: number of items, numbered from 0.
        sets: collections of sets; each set is a list of items.

    Returns:
        int64, (count,): the smallest item of each item's group.
    """
    families = (members for family in sets for members in family)
    return connected_components(count, (pair for members in families for pair in pairwise(members)))


def _same_description(products: pd.DataFrame, min_words: int) -> pd.Series:
    """Return the positions of listings with equal descriptions, except short ones ("collection only")."""
    texts = pd.Series([text.casefold_text(value) for value in products["description"]], dtype="str")
    long = texts[texts.str.count(" ") >= min_words - 1]
    return long.groupby(long).agg(lambda same: list(same.index))


def _previous_split_by_product(tables: Iterable[pd.DataFrame], rule: str) -> dict[str, str]:
    """Return the earlier split of each listing, from the last table that has it.

    Tables that are empty, or were made with other parameters, are ignored.
    """
    splits: dict[str, str] = {}
    for table in tables:
        if not table.empty:
            same = table[table["rule"] == rule]
            splits |= dict(zip(same["product_id"], same["split"], strict=True))
    return splits
