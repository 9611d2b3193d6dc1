"""Train, validation and test: no group of listings that share a photo or a description crosses."""

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
from fb_marketplace.storage.fingerprints import stage_digest

REVISION: Final = 1
"""Goes up when the same parameters would give other splits."""


def split_listings(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    previous_splits: pd.DataFrame,
    parameters: SplitParameters,
) -> pd.DataFrame:
    """Assign every listing, with all its photos, to a split.

    A group joins listings that share a photo or nearly one, or a description. It is named for its
    oldest listing, and its split is a hash of a salt and that name, so it stays where it was when
    listings come and go; where an earlier run has split its members already, the oldest of them that
    was split decides, if it was split by the same parameters.

    Args:
        products: the listings.
        image_products: ``image_id`` and ``product_id`` of every photo.
        duplicate_groups: ``image_id`` and ``group`` of the photos that are copies.
        previous_splits: what an earlier run assigned; may be empty.
        parameters: salt and shares.

    Returns:
        One row a photo, and one without ``image_id`` for a listing that has none:
        ``image_id``, ``product_id``, ``group``, ``split``, and ``rule``, a digest of the parameters.
    """
    oldest_first = products.sort_values("row", ignore_index=True)
    place = pd.Series(oldest_first.index, index=oldest_first["product_id"])
    photos = image_products.assign(place=image_products["product_id"].map(place))
    copies = photos.merge(duplicate_groups[["image_id", "group"]], on="image_id")
    labels = join_groups(
        len(oldest_first),
        [
            copies.groupby("group")["place"].agg(list),
            _same_description(oldest_first, parameters.shared_description_words),
        ],
    )
    groups = oldest_first["product_id"].to_numpy()[labels]
    rule = stage_digest("splits", REVISION, parameters)
    before = _previous(previous_splits, rule)
    decided: dict[str, str] = {}
    for product, group in zip(oldest_first["product_id"], groups, strict=True):
        if group not in decided and product in before:
            decided[group] = before[product]
    listed = oldest_first[["product_id"]].assign(
        group=groups,
        split=[decided.get(group) or split_for_group(group, parameters) for group in groups],
        rule=rule,
    )
    with_photos = listed.merge(
        image_products[["image_id", "product_id"]], on="product_id", how="left"
    )
    columns = ["image_id", "product_id", "group", "split", "rule"]
    return (
        with_photos[columns]
        .astype("str")
        .sort_values(["product_id", "image_id"], ignore_index=True)
    )


def split_for_group(group: str, parameters: SplitParameters) -> str:
    """Give the split of a group that was never split before."""
    digest = hashlib.sha256(f"{parameters.salt}/{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < parameters.train:
        return "train"
    return "validation" if place < parameters.train + parameters.validation else "test"


def join_groups(count: int, sets: Iterable[Iterable[list[int]]]) -> NDArray[np.int64]:
    """Join what stands together in any set; each gets the smallest number that it is joined to.

    Args:
        count: how many there are, numbered from 0.
        sets: families of sets of numbers.

    Returns:
        int64, (count,).
    """
    families = (members for family in sets for members in family)
    return connected_components(count, (pair for members in families for pair in pairwise(members)))


def _same_description(products: pd.DataFrame, words: int) -> pd.Series:
    """Places of listings whose descriptions say the same at some length; "collection only" joins nobody."""
    said = pd.Series([text.casefold_text(found) for found in products["description"]], dtype="str")
    telling = said[said.str.count(" ") >= words - 1]
    return telling.groupby(telling).agg(lambda same: list(same.index))


def _previous(previous_splits: pd.DataFrame, rule: str) -> dict[str, str]:
    """Where an earlier run put each listing; nowhere, if that split by other parameters."""
    if previous_splits.empty:
        return {}
    same = previous_splits[previous_splits["rule"] == rule]
    return dict(zip(same["product_id"], same["split"], strict=True))
