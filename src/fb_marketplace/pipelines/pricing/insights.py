"""Notes beside a listing's price: what was found, in a sentence, with its evidence; never a verdict."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.pipelines.pricing.formatting import format_money
from fb_marketplace.pipelines.pricing.price_intervals import PriceInterval
from fb_marketplace_serving.search.price_insights import (
    PHOTO_ELSEWHERE,
    UNUSUAL_PRICE,
    Insight,
    PhotoElsewhere,
    UnusualPrice,
)


def find_unusual_prices(
    listed: pd.DataFrame,
    typical: PriceInterval,
    listings: NDArray[np.int32],
    alike: Sequence[Sequence[int]],
    factor: float,
) -> dict[str, list[Insight]]:
    """Note the prices that are far outside of what is typical.

    Not where one of the listings that are told as evidence asks about the same, more nearly than the end of
    what is typical: then there are such prices, as of spare parts beside what they are for.

    Args:
        listed: ``product_id``, ``price`` and ``currency``.
        typical: what is typical for each.
        listings: (listings,), how many alike listings that is taken from.
        alike: rows of the most alike of each.
        factor: a price is noted where it is below the beginning over this, or above the end times this.

    Returns:
        One note each, by product id.
    """
    prices = listed["price"].to_numpy(np.float64)
    ids, currencies = listed["product_id"].to_list(), listed["currency"].to_list()
    below, above = prices < typical.low / factor, prices > typical.high * factor
    found = {}
    for row in np.flatnonzero(below | above).tolist():
        low, high, theirs = float(typical.low[row]), float(typical.high[row]), prices[alike[row]]
        # Halfway, by the logarithm.
        between = np.sqrt(prices[row] * (low if below[row] else high))
        if (theirs < between).any() if below[row] else (theirs > between).any():
            continue
        begin, end, asked = (
            format_money(each, currencies[row]) for each in (low, high, prices[row])
        )
        evidence = UnusualPrice(
            low, high, int(listings[row]), tuple(ids[other] for other in alike[row])
        )
        text = f"Alike listings ask {begin}–{end}; this one asks {asked}."
        found[ids[row]] = [Insight(UNUSUAL_PRICE, text, evidence)]
    return found


Offer = tuple[float, str]
"""Price and town: what tells a listing from the same thing listed once more."""


class _Photo(NamedTuple):
    """A photo that has copies, with what is shown of its listing."""

    image_id: str
    product_id: str
    title: str
    price: float
    currency: str
    town: str | None
    source_sha256: str
    sha256: str

    @property
    def offer(self) -> Offer:
        return self.price, (self.town or "").casefold()

    @property
    def digests(self) -> tuple[str, str]:
        return self.source_sha256, self.sha256


def find_photos_elsewhere(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    digests: pd.DataFrame,
    most: int,
) -> dict[str, list[Insight]]:
    """Note the listings a photo of which stands in another one, of another price or in another town.

    Of others that ask the same in the same town one is told. Those that differ in both come first, then
    those whose photo is the very same.

    Args:
        products: ``product_id``, ``title``, ``price``, ``currency`` and ``town``.
        image_products: whose each photo is.
        duplicate_groups: which photos are copies.
        digests: ``image_id``, ``source_sha256`` and ``sha256`` of the photos.
        most: notes of one listing.

    Returns:
        Notes by product id.
    """
    told: dict[str, dict[Offer, _Pair]] = defaultdict(dict)
    for photos in _copies(products, image_products, duplicate_groups, digests):
        for pair in _pairs(photos, most):
            others = told[pair.photo.product_id]
            others[pair.other.offer] = min(others.get(pair.other.offer, pair), pair, key=_rank)
    return {
        product: [_note(pair) for pair in sorted(others.values(), key=_rank)[:most]]
        for product, others in told.items()
    }


class _Pair(NamedTuple):
    """A photo, and its copy in another listing."""

    photo: _Photo
    other: _Photo

    @property
    def exact(self) -> bool:
        # Of three photos in a group two may be the same file, and the third only near to both.
        return not set(self.photo.digests).isdisjoint(self.other.digests)

    @property
    def differences(self) -> int:
        """Count in what the two differ of price and town; one that is not known differs from none."""
        towns = {town.casefold() for town in (self.photo.town, self.other.town) if town}
        return (self.photo.price != self.other.price) + (len(towns) > 1)


def _copies(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    digests: pd.DataFrame,
) -> Iterator[list[_Photo]]:
    """Give the photos of each set of copies, sorted by listing and id."""
    shown = products[["product_id", "title", "price", "currency", "town"]]
    photos = (
        duplicate_groups[["image_id", "group"]]
        .merge(image_products[["image_id", "product_id"]], on="image_id", validate="1:1")
        .merge(shown.assign(town=_or_none(shown["town"])), on="product_id", validate="m:1")
        .merge(digests, on="image_id", validate="1:1")
        .sort_values(["group", "product_id", "image_id"])
    )
    columns = list(_Photo._fields)
    for _, part in photos.groupby("group", sort=True):
        yield [_Photo(*row) for row in part[columns].itertuples(index=False, name=None)]


def _pairs(photos: list[_Photo], most: int) -> Iterator[_Pair]:
    """Pair photos with copies of other offers, of a few offers each: a dealer's copies may be thousands."""
    first: dict[Offer, _Photo] = {}
    same: dict[tuple[Offer, str], _Photo] = {}
    for photo in photos:
        first.setdefault(photo.offer, photo)
        for digest in photo.digests:
            same.setdefault((photo.offer, digest), photo)
    for photo in photos:
        for offer in islice((each for each in first if each != photo.offer), 2 * most):
            exact = (same[offer, each] for each in photo.digests if (offer, each) in same)
            pair = _Pair(photo, next(exact, first[offer]))
            if pair.differences:
                yield pair


def _rank(pair: _Pair) -> tuple[int, bool, str, str, str]:
    photo, other = pair
    return -pair.differences, not pair.exact, other.product_id, photo.image_id, other.image_id


def _note(pair: _Pair) -> Insight:
    photo, other = pair
    asked = format_money(other.price, other.currency)
    where = f"{other.town}, {asked}" if other.town else asked
    which = "A photo of this listing also" if pair.exact else "Nearly the same photo as one here"
    return Insight(
        PHOTO_ELSEWHERE,
        f"{which} stands in “{other.title}” ({where}).",
        PhotoElsewhere(
            other.product_id,
            photo.image_id,
            other.image_id,
            other.price,
            other.town,
            "exact" if pair.exact else "near",
        ),
    )


def _or_none(column: "pd.Series[str]") -> "pd.Series[Any]":
    return column.astype("object").where(column.notna(), None)
