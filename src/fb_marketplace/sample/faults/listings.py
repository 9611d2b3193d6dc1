"""Faults of listings: at most one per listing, and every kind at least once."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from fb_marketplace.sample.prices import format_price
from fb_marketplace.sample.records import Listing

_REQUIRED = ("price", "product_description", "category", "location", "product_name", "id")
_UNPARSABLE = ("£ask", "swap only", "£12.5O", "offers", "£-", "twenty pounds")
_JOKES = (123, 1_234_567, 1, 999, 12_345, 11_111, 1234, 111_111, 123_456, 9_999_999)
_ABSURD = (850_000, 2_500_000, 100_500, 10_000_000, 475_000)
EMOJI = ("😀", "🔥", "🚲", "👍", "🎁", "⭐", "🏡", "📦", "💥", "🙏")

_QUIRKS = (
    lambda text: f"“{text}” – it’s a lovely piece",
    lambda text: text.replace(" ", "\u00a0", 3),
    lambda text: text.replace(" ", " \u200b", 2),
    lambda text: f"{text} About 2½ years old, from the café.",
    lambda text: f"{text} Comes from the cafe\u0301 next door.",
    lambda text: f"{text}\u0007 \u001bSee pictures.",
    lambda text: f'{text} The label says "finest", 12" across.',
    lambda text: f"{text}\nCall after six.\nThanks",
)


def fault_count(total: int, share: float, minimum: int = 1) -> int:
    """Return the number of faults: a share of the total, but at least the minimum."""
    return max(minimum, round(total * share))


def inject_listing_faults(listings: list[Listing], random: Random) -> None:
    """Add faults and oddities to listings, in place.

    Args:
        listings: listings without faults, at least 60.
        random: source of randomness.
    """
    total = len(listings)
    shuffled = list(listings)
    random.shuffle(shuffled)
    remaining = iter(shuffled)

    def inject(share: float, fault: Callable[[Listing, int], None], minimum: int = 1) -> None:
        for variant in range(fault_count(total, share, minimum)):
            fault(next(one for one in remaining if one.spotless), variant)

    inject(0.012, _drop_field)
    inject(0.006, _make_unparsable)
    inject(0.010, lambda one, _: _set_price(one, "price_zero", 0))
    inject(0.010, lambda one, variant: _set_price(one, "price_joke", _JOKES[variant % len(_JOKES)]))
    inject(
        0.004, lambda one, variant: _set_price(one, "price_absurd", _ABSURD[variant % len(_ABSURD)])
    )
    inject(0.008, lambda one, _: _set_flag(one, "repeated_row"))
    inject(0.014, lambda one, _: _set_flag(one, "no_photo"))
    for _ in range(fault_count(total, 0.008)):
        pair = [next(one for one in remaining if one.spotless) for _ in range(2)]
        older, newer = sorted(pair, key=lambda one: one.product.number)
        _make_copy(older, newer, random)
    inject(0.05, lambda one, _: _add_emoji(one, random))
    inject(0.05, _add_quirk, minimum=len(_QUIRKS))


def _drop_field(listing: Listing, variant: int) -> None:
    field = _REQUIRED[variant % len(_REQUIRED)]
    listing.fault = "missing_field"
    _remove_line_ends(listing)
    listing.fields[field] = "N/A" if variant % 2 and field != "id" else ""


def _make_unparsable(listing: Listing, variant: int) -> None:
    listing.fault = "unparsable_price"
    _remove_line_ends(listing)
    listing.fields["price"] = _UNPARSABLE[variant % len(_UNPARSABLE)]


def _remove_line_ends(listing: Listing) -> None:
    text = listing.fields["product_description"]
    listing.fields["product_description"] = text.replace("\r", " ")


def _set_price(listing: Listing, flag: str, amount: int) -> None:
    listing.flag = flag
    listing.fields["price"] = format_price(amount)


def _set_flag(listing: Listing, flag: str) -> None:
    listing.flag = flag


def _make_copy(older: Listing, newer: Listing, random: Random) -> None:
    """Make the newer listing repeat the older one under its own id."""
    older.flag = "copied"
    newer.flag = "copy"
    newer.fields = {**older.fields, "id": newer.fields["id"]}
    newer.product = replace(older.product, number=newer.product.number, id=newer.product.id)
    older.day = min(older.day, 40)
    newer.day = older.day + random.randint(1, 20)


def _add_emoji(listing: Listing, random: Random) -> None:
    listing.flag = "decorated"
    field = random.choice(("product_name", "product_description", "product_description"))
    text, bar, tail = listing.fields[field].partition(" | in ")
    first, last = random.choice(EMOJI), random.choice(EMOJI)
    text = random.choice((f"{first} {text}", f"{text} {last}{last}", f"{first}{text} {last}"))
    listing.fields[field] = text + bar + tail


def _add_quirk(listing: Listing, variant: int) -> None:
    listing.flag = "quirky"
    quirk = _QUIRKS[variant % len(_QUIRKS)]
    listing.fields["product_description"] = quirk(listing.fields["product_description"])
