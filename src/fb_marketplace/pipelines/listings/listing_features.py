"""What a search knows of each listing beside its text: what it shows, and where it is offered."""

import io
from collections import Counter
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.graph import connected_components
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.search.gazetteer import Gazetteer, ResolvedPlace
from fb_marketplace_serving.search.geo import distance_km
from fb_marketplace_serving.search.listing_features import COLUMNS
from fb_marketplace_serving.search.listings import Listing
from fb_marketplace_serving.search.tokenizer import words

MOST_FREQUENT: Final = 10
"""Names of unknown places that the report tells."""


class ListingFeatureResult(NamedTuple):
    """The facts of listings, Parquet for ``Facts``; and a report of them."""

    facts: bytes
    report: dict[str, Any]


def build_listing_features(
    products: pd.DataFrame, images: Table, duplicate_groups: pd.DataFrame, places: FileRef
) -> ListingFeatureResult:
    """Gather what is known of each listing, sorted by id.

    Listings of one family show the same thing: one copies the other's text, or they share a photo or nearly
    one, directly or by way of others. A family is named for the smallest id in it. A description that two
    share makes no family, as it makes a group of the splits: a trader writes one for all that he sells.

    Args:
        products: the listings.
        images: their photos.
        duplicate_groups: which photos are copies.
        places: the gazetteer.

    Returns:
        The facts; and how many listings and places are known where, what the unknown ones are called, and
        how far off a county's middle is where it stands for an unknown place.
    """
    listed = products.sort_values("product_id", ignore_index=True)
    photos = images.read(["image_id", "product_id", "width", "height"]).to_pandas()
    found = Gazetteer.from_bytes(places.read())
    where = _places(listed, found)
    pixels = (photos["width"] * photos["height"]).groupby(photos["product_id"]).max()
    facts = pd.DataFrame(
        {
            "product_id": listed["product_id"],
            "family": _families(listed, photos, duplicate_groups),
            "latitude": where["latitude"],
            "longitude": where["longitude"],
            "description_words": [len(words(said)) for said in listed["description"]],
            "photo_pixels": listed["product_id"].map(pixels).fillna(0).astype("int64"),
        }
    )[list(COLUMNS)]
    buffer = io.BytesIO()
    facts.to_parquet(buffer, index=False)
    return ListingFeatureResult(buffer.getvalue(), _report(facts, where, found))


def _families(
    listed: pd.DataFrame, photos: pd.DataFrame, duplicate_groups: pd.DataFrame
) -> pd.Series:
    """Name the family of each listing; they are sorted by id."""
    place = pd.Series(listed.index, index=listed["product_id"])
    copies = listed[listed["copy_of"].notna()]
    pairs = list(zip(copies.index, place.loc[copies["copy_of"]], strict=True))
    alike = photos.merge(duplicate_groups[["image_id", "group"]], on="image_id")
    for _, products in alike["product_id"].map(place).groupby(alike["group"]):
        pairs += pairwise(products.tolist())
    return (
        listed["product_id"].take(connected_components(len(listed), pairs)).reset_index(drop=True)
    )


def _places(listed: pd.DataFrame, places: Gazetteer) -> pd.DataFrame:
    """Find where each listing is offered: ``town``, ``county``, ``by``, ``latitude`` and ``longitude``.

    What is not known is missing: of a place, ``by``.
    """
    told = list(zip(_told(listed["town"]), _told(listed["county"]), strict=True))
    known = {pair: places.resolve(pair[0] or "", pair[1]) for pair in set(told)}
    rows = [(*pair, *_flat(known[pair])) for pair in told]
    return pd.DataFrame(rows, columns=["town", "county", "by", "latitude", "longitude"])


def _told(names: pd.Series) -> list[str | None]:
    return [str(name) if there else None for name, there in zip(names, names.notna(), strict=True)]


def _flat(found: ResolvedPlace | None) -> tuple[str | None, float, float]:
    return (found.by, *found.place[1:]) if found else (None, np.nan, np.nan)


def _report(facts: pd.DataFrame, where: pd.DataFrame, places: Gazetteer) -> dict[str, Any]:
    told = where[where["town"].notna()]
    distinct = told.drop_duplicates(["town", "county"])
    unknown = told[told["by"].isna()].fillna({"county": ""})
    commonest = Counter(zip(unknown["town"], unknown["county"], strict=True)).most_common(
        MOST_FREQUENT
    )
    families = facts["family"].value_counts()
    return {
        "listings": _by_way(told) | {"all": len(where), "with_town": len(told)},
        "places": _by_way(distinct) | {"distinct": len(distinct)},
        "with_coordinates": float(facts["latitude"].notna().mean()),
        "commonest_unknown": [
            {"town": town, "county": county or None, "listings": count}
            for (town, county), count in commonest
        ],
        "off_by_county_km": _off(told, places),
        "families": {
            "larger_than_one": int((families > 1).sum()),
            "listings_in_them": int(families[families > 1].sum()),
            "largest": int(families.max()),
        },
    }


def _by_way(where: pd.DataFrame) -> dict[str, int]:
    counts = where["by"].value_counts()
    return {
        "by_town": int(counts.get("town", 0)),
        "by_county": int(counts.get("county", 0)),
        "unknown": int(where["by"].isna().sum()),
    }


def _off(told: pd.DataFrame, places: Gazetteer) -> dict[str, float] | None:
    """Say how far listings of known towns are from what would stand for their county; None without any."""
    known = told[told["by"] == "town"]
    stands = {
        county: found.place
        for county in known["county"].dropna().unique()
        if (found := places.resolve("", county)) is not None
    }
    there = known[known["county"].isin(stands.keys())]
    if there.empty:
        return None
    middles = [stands[county] for county in there["county"]]
    off = distance_km(
        there["latitude"],
        there["longitude"],
        [middle.latitude for middle in middles],
        [middle.longitude for middle in middles],
    )
    return {"median": float(np.median(off)), "nine_in_ten": float(np.quantile(off, 0.9))}


def build_listing_cards(products: pd.DataFrame) -> bytes:
    """Write what the server shows of each listing, sorted by id; gives Parquet."""
    buffer = io.BytesIO()
    shown = products[list(Listing._fields)].sort_values("product_id", ignore_index=True)
    shown.to_parquet(buffer, index=False)
    return buffer.getvalue()
