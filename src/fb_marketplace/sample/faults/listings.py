"""Which listings go wrong, and how: every fault stands alone, and none at all is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from fb_marketplace.sample.faults.text import VARIETY, add_emoji, add_quirk
from fb_marketplace.sample.prices import format_price
from fb_marketplace.sample.records import Listing

_REQUIRED = ("price", "product_description", "category", "location", "product_name", "id")
_UNPARSABLE = ("£ask", "swap only", "£12.5O", "offers", "£-", "twenty pounds")
_JOKES = (123, 1_234_567, 1, 999, 12_345, 11_111, 1234, 111_111, 123_456, 9_999_999)
_ABSURD = (850_000, 2_500_000, 100_500, 10_000_000, 475_000)


def fault_count(total: int, share: float, least: int = 1) -> int:
    """How many of a total to spoil: its share, but never fewer than the least."""
    return max(least, round(total * share))


def inject_listing_faults(listings: list[Listing], random: Random) -> None:
    """Plants the faults and oddities of listings, in place.

    Args:
        listings: spotless listings, enough for every kind of fault: 60 are.
        random: decides which.
    """
    total = len(listings)
    draw = list(listings)
    random.shuffle(draw)
    waiting = iter(draw)

    def each(share: float, act: Callable[[Listing, int], None], least: int = 1) -> None:
        for variant in range(fault_count(total, share, least)):
            act(next(one for one in waiting if one.spotless), variant)

    each(0.012, _lose_field)
    each(0.006, _garble_price)
    each(0.010, lambda one, _: _reprice(one, "price_zero", 0))
    each(0.010, lambda one, variant: _reprice(one, "price_joke", _JOKES[variant % len(_JOKES)]))
    each(0.004, lambda one, variant: _reprice(one, "price_absurd", _ABSURD[variant % len(_ABSURD)]))
    each(0.008, lambda one, _: _flag(one, "repeated_row"))
    each(0.014, lambda one, _: _flag(one, "no_photo"))
    for _ in range(fault_count(total, 0.008)):
        pair = [next(one for one in waiting if one.spotless) for _ in range(2)]
        older, newer = sorted(pair, key=lambda one: one.product.number)
        _copy(older, newer, random)
    each(0.05, lambda one, _: _decorate(one, random))
    each(0.05, _quirk, least=VARIETY)


def _lose_field(listing: Listing, variant: int) -> None:
    field = _REQUIRED[variant % len(_REQUIRED)]
    listing.fault = "missing_field"
    _unwrap(listing)
    listing.fields[field] = "N/A" if variant % 2 and field != "id" else ""


def _garble_price(listing: Listing, variant: int) -> None:
    listing.fault = "unparsable_price"
    _unwrap(listing)
    listing.fields["price"] = _UNPARSABLE[variant % len(_UNPARSABLE)]


def _unwrap(listing: Listing) -> None:
    text = listing.fields["product_description"]
    listing.fields["product_description"] = text.replace("\r", " ")


def _reprice(listing: Listing, flag: str, amount: int) -> None:
    listing.flag = flag
    listing.fields["price"] = format_price(amount)


def _flag(listing: Listing, flag: str) -> None:
    listing.flag = flag


def _copy(older: Listing, newer: Listing, random: Random) -> None:
    """Makes the newer listing advertise the older one's product again, under its own id."""
    older.flag = "copied"
    newer.flag = "copy"
    newer.fields = {**older.fields, "id": newer.fields["id"]}
    newer.product = replace(older.product, number=newer.product.number, id=newer.product.id)
    older.day = min(older.day, 40)
    newer.day = older.day + random.randint(1, 20)


def _decorate(listing: Listing, random: Random) -> None:
    listing.flag = "decorated"
    field = random.choice(("product_name", "product_description", "product_description"))
    text, bar, tail = listing.fields[field].partition(" | in ")
    listing.fields[field] = add_emoji(text, random) + bar + tail


def _quirk(listing: Listing, variant: int) -> None:
    listing.flag = "quirky"
    listing.fields["product_description"] = add_quirk(
        listing.fields["product_description"], variant
    )
