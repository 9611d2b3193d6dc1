"""Insights for a buyer: one-sentence observations about a listing, with evidence and no verdict."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.pipelines.pricing.price_intervals import PriceInterval
from fb_marketplace_serving.search.listings.price_insights import (
    PHOTO_ELSEWHERE,
    UNUSUAL_PRICE,
    Insight,
    PhotoElsewhere,
    UnusualPrice,
)

SYMBOLS: Final = {"EUR": "€", "GBP": "£", "JPY": "¥", "USD": "$"}


def find_unusual_prices(
    listed: pd.DataFrame,
    intervals: PriceInterval,
    listings: NDArray[np.int32],
    evidence: Sequence[Sequence[int]],
    factor: float,
) -> dict[str, list[Insight]]:
    """Find the prices far outside their interval.

    A price is not unusual if a listing of the evidence has a price that is nearer to it than to the end of
    the interval. This occurs, for example, with spare parts.

    Args:
        listed: ``product_id``, ``price`` and ``currency``.
        intervals: price interval of each listing.
        listings: int32, (listings,), number of comparable listings behind each interval.
        evidence: rows of the most similar comparable listings, by listing.
        factor: a price is unusual below the lower end divided by this, or above the upper end times this.

    Returns:
        One insight per unusual price, by product id.
    """
    prices = listed["price"].to_numpy(np.float64)
    ids, currencies = listed["product_id"].to_list(), listed["currency"].to_list()
    below, above = prices < intervals.low / factor, prices > intervals.high * factor
    insights = {}
    for row in np.flatnonzero(below | above).tolist():
        low, high = float(intervals.low[row]), float(intervals.high[row])
        others = prices[evidence[row]]
        # The midpoint on a logarithmic scale.
        threshold = np.sqrt(prices[row] * (low if below[row] else high))
        if (others < threshold).any() if below[row] else (others > threshold).any():
            continue
        lowest, highest, price = (
            format_money(amount, currencies[row]) for amount in (low, high, prices[row])
        )
        details = UnusualPrice(
            low, high, int(listings[row]), tuple(ids[other] for other in evidence[row])
        )
        text = f"Comparable listings cost {lowest}–{highest}; this one costs {price}."
        insights[ids[row]] = [Insight(UNUSUAL_PRICE, text, details)]
    return insights


def format_money(amount: float, currency: str) -> str:
    """Return an amount such as £1,234.50, without decimals if they are zero.

    Args:
        amount: the amount in units of the currency; 0 is "free".
        currency: ISO 4217 code; written after the amount if ``SYMBOLS`` has no symbol for it.
    """
    if amount == 0:
        return "free"
    text = f"{amount:,.2f}".removesuffix(".00")
    symbol = SYMBOLS.get(currency)
    return f"{symbol}{text}" if symbol else f"{text} {currency}"


Offer = tuple[float, str]
"""Price and town. Listings of the same item with the same offer count as one repeated listing."""


class _Photo(NamedTuple):
    """A photo with copies, and its listing."""

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


class _Pair(NamedTuple):
    """A photo, and its copy in another listing."""

    photo: _Photo
    other: _Photo

    @property
    def exact(self) -> bool:
        # Of three photos in a group, two may be the same file and the third only similar to both.
        return not set(self.photo.digests).isdisjoint(self.other.digests)

    @property
    def differences(self) -> int:
        """Number of differences in price and town, 0 to 2. An unknown town never counts as different."""
        towns = {town.casefold() for town in (self.photo.town, self.other.town) if town}
        return (self.photo.price != self.other.price) + (len(towns) > 1)


def find_photos_elsewhere(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    digests: pd.DataFrame,
    max_matches: int,
) -> dict[str, list[Insight]]:
    """Find listings with a photo that is also in a listing with another price or town.

    Of several other listings with the same price and town, one is reported. Listings that differ in both
    come first; among equals, those with an exact copy of the photo.

    Args:
        products: ``product_id``, ``title``, ``price``, ``currency`` and ``town``.
        image_products: listing of each photo.
        duplicate_groups: groups of copies and near-duplicates.
        digests: ``image_id``, ``source_sha256`` and ``sha256`` of the photos.
        max_matches: maximum number of insights per listing.

    Returns:
        Insights by product id.
    """
    matches: dict[str, dict[Offer, _Pair]] = defaultdict(dict)
    for photos in _groups_of_copies(products, image_products, duplicate_groups, digests):
        for pair in _pairs(photos, max_matches):
            others = matches[pair.photo.product_id]
            others[pair.other.offer] = min(others.get(pair.other.offer, pair), pair, key=_rank)
    return {
        product: [_insight(pair) for pair in sorted(others.values(), key=_rank)[:max_matches]]
        for product, others in matches.items()
    }


def _groups_of_copies(
    products: pd.DataFrame,
    image_products: pd.DataFrame,
    duplicate_groups: pd.DataFrame,
    digests: pd.DataFrame,
) -> Iterator[list[_Photo]]:
    """Yield the photos of each group of copies, sorted by listing and id."""
    listed = products[["product_id", "title", "price", "currency", "town"]]
    towns = listed["town"].astype("object").where(listed["town"].notna(), None)
    photos = (
        duplicate_groups[["image_id", "group"]]
        .merge(image_products[["image_id", "product_id"]], on="image_id", validate="1:1")
        .merge(listed.assign(town=towns), on="product_id", validate="m:1")
        .merge(digests, on="image_id", validate="1:1")
        .sort_values(["group", "product_id", "image_id"])
    )
    columns = list(_Photo._fields)
    for _, part in photos.groupby("group", sort=True):
        yield [_Photo(*row) for row in part[columns].itertuples(index=False, name=None)]


def _pairs(photos: list[_Photo], max_matches: int) -> Iterator[_Pair]:
    """Yield pairs of copies with different offers, a few per photo: a dealer may have thousands."""
    first: dict[Offer, _Photo] = {}
    by_digest: dict[tuple[Offer, str], _Photo] = {}
    for photo in photos:
        first.setdefault(photo.offer, photo)
        for digest in photo.digests:
            by_digest.setdefault((photo.offer, digest), photo)
    for photo in photos:
        other_offers = (offer for offer in first if offer != photo.offer)
        for offer in islice(other_offers, 2 * max_matches):
            exact = (
                by_digest[offer, digest] for digest in photo.digests if (offer, digest) in by_digest
            )
            pair = _Pair(photo, next(exact, first[offer]))
            if pair.differences:
                yield pair


def _rank(pair: _Pair) -> tuple[int, bool, str, str, str]:
    photo, other = pair
    return -pair.differences, not pair.exact, other.product_id, photo.image_id, other.image_id


def _insight(pair: _Pair) -> Insight:
    photo, other = pair
    price = format_money(other.price, other.currency)
    offer = f"{other.town}, {price}" if other.town else price
    subject = "A photo of this listing" if pair.exact else "A nearly identical photo"
    return Insight(
        PHOTO_ELSEWHERE,
        f"{subject} is also in “{other.title}” ({offer}).",
        PhotoElsewhere(
            other.product_id,
            photo.image_id,
            other.image_id,
            other.price,
            other.town,
            "exact" if pair.exact else "near",
        ),
    )
