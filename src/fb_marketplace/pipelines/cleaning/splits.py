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
from fb_marketplace.storage.fingerprints import sha256, stage_digest
from fb_marketplace_serving.storage.erasure_list import ErasureList

REVISION: Final = 1
"""Increase it if the same parameters would give other splits."""

HISTORY_COLUMNS: Final = ["product_id", "shared", "split", "rule"]

DIGEST_SIZE: Final = 16
"""Characters of a digest in the history."""


def split_listings(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    previous_splits: pd.DataFrame,
    previous_split_history: pd.DataFrame,
    parameters: SplitParameters,
) -> pd.DataFrame:
    """Assign each listing, with all its photos, to a split.

    Listings that share a duplicate photo or a description form a group, unless very many listings share it,
    as a placeholder or boilerplate. A group has the id of its oldest listing, and a hash of that id and a
    salt gives its split. So splits stay stable when listings are added or removed.

    Models are kept while listings change, and never evaluated on listings that they were trained on. A
    group is in train if one of its members, or a former listing with the same photo or description, was
    in train in an earlier run with the same parameters; otherwise in validation if one was in validation.

    Args:
        products: the listings.
        image_products: ``image_id``, ``product_id`` and ``sha256`` of each photo.
        duplicate_groups: ``image_id`` and ``group`` of duplicate photos.
        previous_splits: splits of an earlier run; may be empty.
        previous_split_history: history of an earlier run; may be empty.
        parameters: salt and shares.

    Returns:
        One row per photo, and one without ``image_id`` per listing without photos:
        ``image_id``, ``product_id``, ``group``, ``split``, and ``rule``, a digest of the parameters.
    """
    oldest_first = products.sort_values("row", ignore_index=True)
    position = pd.Series(oldest_first.index, index=oldest_first["product_id"])
    photos = image_products.assign(position=image_products["product_id"].map(position))
    duplicates = photos.merge(duplicate_groups[["image_id", "group"]], on="image_id")
    texts = _long_descriptions(oldest_first, parameters)
    sharing = [
        duplicates.groupby("group")["position"].agg(list),
        texts.groupby(texts).agg(lambda same: list(same.index)),
    ]
    limit = parameters.max_listings_per_photo
    labels = join_groups(
        len(oldest_first),
        [[members for members in sets if len(set(members)) <= limit] for sets in sharing],
    )
    groups = oldest_first["product_id"].to_numpy()[labels]
    rule = stage_digest("splits", REVISION, parameters)
    history = _with_rule(previous_split_history, rule)
    digests = _shared_digests(oldest_first, image_products, duplicate_groups, parameters)
    earlier = pd.concat(
        [
            _with_rule(previous_splits, rule)[["product_id", "split"]],
            history[["product_id", "split"]],
            digests.merge(history[["shared", "split"]].dropna(), on="shared")[
                ["product_id", "split"]
            ],
        ]
    ).merge(pd.DataFrame({"product_id": oldest_first["product_id"], "group": groups}))
    first = earlier["split"].map(SPLITS.index).groupby(earlier["group"]).min()
    assigned = {group: SPLITS[number] for group, number in first.items()}
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


def record_split_history(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    splits: pd.DataFrame,
    previous_split_history: pd.DataFrame,
    erasure_list: ErasureList,
    parameters: SplitParameters,
) -> pd.DataFrame:
    """Add the listings in train and validation to the history of all listings that were ever there.

    Models may have learned from listings that are gone. The history recognizes them if they come back,
    even under another id with the same photo or description.

    Args:
        products: the listings.
        image_products: ``image_id``, ``product_id`` and ``sha256`` of each photo.
        duplicate_groups: ``image_id`` and ``group`` of duplicate photos.
        splits: split of each listing.
        previous_split_history: history of an earlier run; may be empty.
        erasure_list: erased listings, which are removed from the history.
        parameters: limits of shared photos and descriptions.

    Returns:
        ``product_id``; ``shared``, a digest of a photo or description, or null in one row per listing;
        ``split`` and ``rule``.
    """
    digests = _shared_digests(products, image_products, duplicate_groups, parameters)
    listed = splits.loc[splits["split"] != "test", ["product_id", "split", "rule"]]
    listed = listed.drop_duplicates("product_id")
    today = pd.concat([listed.assign(shared=None), listed.merge(digests, on="product_id")])
    rule = stage_digest("splits", REVISION, parameters)
    history = pd.concat([today, _with_rule(previous_split_history, rule)])[HISTORY_COLUMNS]
    is_erased = history["product_id"].map(erasure_list.has_product).astype("bool")
    return (
        history[~is_erased]
        .astype("str")
        .sort_values(
            ["product_id", "shared", "split"], ignore_index=True
        )  # train before validation
        .drop_duplicates(["product_id", "shared"], ignore_index=True)
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


def _long_descriptions(products: pd.DataFrame, parameters: SplitParameters) -> "pd.Series[str]":
    """Return the folded descriptions, by position, except short ones ("collection only")."""
    texts = pd.Series([text.casefold_text(value) for value in products["description"]], dtype="str")
    return texts[texts.str.count(" ") >= parameters.min_words_for_duplicate_description - 1]


def _shared_digests(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    parameters: SplitParameters,
) -> pd.DataFrame:
    """Return ``product_id`` and ``shared``, a digest, of each photo and description that may join listings.

    Those of more listings than the limit are left out, and so are photos with that many near-duplicates.
    """
    photos = image_products.merge(
        duplicate_groups[["image_id", "group"]], on="image_id", how="left"
    )
    photos = photos.assign(group=photos["group"].fillna(photos["image_id"]))
    texts = _long_descriptions(products, parameters)
    described = pd.DataFrame(
        {
            "product_id": products["product_id"].to_numpy()[texts.index],
            "sha256": [sha256(value.encode()) for value in texts],
        }
    )
    shared = pd.concat([photos, described.assign(group=described["sha256"])], ignore_index=True)
    listings = shared.groupby("group")["product_id"].transform("nunique")
    shared = shared[listings <= parameters.max_listings_per_photo]
    return (
        shared[["product_id"]]
        .assign(shared=shared["sha256"].str[:DIGEST_SIZE])
        .astype("str")
        .drop_duplicates(ignore_index=True)
    )


def _with_rule(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the rows of an earlier table that were made with the same parameters."""
    if table.empty:
        return pd.DataFrame({name: [] for name in HISTORY_COLUMNS}, dtype="str")
    return table[table["rule"] == rule]
