"""Listing cards, and the features of listings that search uses besides their text."""

import io
from collections import Counter
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.compute.graph import connected_components
from fb_marketplace.parameters.cleaning import SplitParameters
from fb_marketplace.pipelines.listings.brands import learn_brands
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.release.descriptions import write_descriptions
from fb_marketplace_serving.search.listings.attribute_table import attributes_text
from fb_marketplace_serving.search.listings.attributes import KINDS, Attribute, listing_attributes
from fb_marketplace_serving.search.listings.gazetteer import Gazetteer, ResolvedPlace
from fb_marketplace_serving.search.listings.geo import distance_km
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.listings.listing_features import COLUMNS
from fb_marketplace_serving.search.tokenizer import words

SECONDS_PER_DAY: Final = 86_400

MOST_FREQUENT: Final = 10
"""Number of unknown places in the report."""


class ListingFeatureResult(NamedTuple):
    """The features, Parquet for the server's ``ListingFeatures``, and a report."""

    features: bytes
    report: dict[str, Any]


def build_listing_features(
    products: pd.DataFrame,
    images: Table,
    duplicate_groups: pd.DataFrame,
    gazetteer: FileRef,
    parameters: SplitParameters,
    splits: pd.DataFrame | None = None,
) -> ListingFeatureResult:
    """Build the features of each listing, sorted by id.

    Listings of one family offer the same item: one copies the other's text, or they share a photo or near
    duplicate, directly or through other listings. A family is named by the smallest product id in it. A
    shared description joins listings into one split group, but not into a family: a trader reuses one
    description for all items. A photo of more than ``max_listings_per_photo`` listings is a placeholder,
    and does not join them either.

    Args:
        products: the listings.
        images: their photos.
        duplicate_groups: groups of copies and near-duplicates.
        gazetteer: the towns and counties.
        parameters: ``max_listings_per_photo``.
        splits: split of each listing, to learn brands from the training split; None for no brands.

    Returns:
        The features; and a report: numbers of listings and places located by town and by county, the most
        frequent unknown places, the distances between listings and their county's center, families,
        placeholder photos, and the share of the listings with an attribute of each kind.
    """
    listed = products.sort_values("product_id", ignore_index=True)
    brands = frozenset[str]() if splits is None else learn_brands(products, splits)
    texts = zip(listed["title"], listed["description"].fillna(""), strict=True)
    attributes = [listing_attributes(title, description, brands) for title, description in texts]
    photos = images.read(["image_id", "product_id", "width", "height"]).to_pandas()
    places = Gazetteer.from_bytes(gazetteer.read())
    located = _locate(listed, places)
    shared = photos.merge(duplicate_groups[["image_id", "group"]], on="image_id")
    listings_per_photo = shared.groupby("group")["product_id"].transform("nunique")
    is_placeholder = listings_per_photo > parameters.max_listings_per_photo
    pixels = (photos["width"] * photos["height"]).groupby(photos["product_id"]).max()
    placeholders = {
        "placeholders": {
            "photos": int(shared.loc[is_placeholder, "group"].nunique()),
            "listings": int(shared.loc[is_placeholder, "product_id"].nunique()),
        }
    }
    features = pd.DataFrame(
        {
            "product_id": listed["product_id"],
            "family": _families(listed, shared[~is_placeholder]),
            "latitude": located["latitude"],
            "longitude": located["longitude"],
            "description_words": [len(words(text)) for text in listed["description"]],
            "photo_pixels": listed["product_id"].map(pixels).fillna(0).astype("int64"),
            "age_days": (listed["created_at"].max() - listed["created_at"]) / SECONDS_PER_DAY,
            "attributes": pd.Series(list(map(attributes_text, attributes)), dtype="str"),
        }
    )[list(COLUMNS)]
    buffer = io.BytesIO()
    features.to_parquet(buffer, index=False)
    return ListingFeatureResult(
        buffer.getvalue(),
        _report(features, located, places) | placeholders | _report_attributes(attributes, brands),
    )


def _families(listed: pd.DataFrame, shared: pd.DataFrame) -> pd.Series:
    """Return the family of each listing.

    Args:
        listed: the listings, sorted by id.
        shared: ``product_id`` and ``group`` of each duplicate photo.
    """
    row_of = pd.Series(listed.index, index=listed["product_id"])
    copies = listed[listed["copy_of"].notna()]
    pairs = list(zip(copies.index, row_of.loc[copies["copy_of"]], strict=True))
    for _, rows in shared["product_id"].map(row_of).groupby(shared["group"]):
        pairs += pairwise(rows.tolist())
    return (
        listed["product_id"].take(connected_components(len(listed), pairs)).reset_index(drop=True)
    )


def _locate(listed: pd.DataFrame, places: Gazetteer) -> pd.DataFrame:
    """Return ``town``, ``county``, ``by``, ``latitude`` and ``longitude`` of each listing.

    Unknown values are missing; ``by`` is missing if the place is unknown.
    """
    pairs = list(zip(_or_none(listed["town"]), _or_none(listed["county"]), strict=True))
    known = {pair: places.resolve(pair[0] or "", pair[1]) for pair in set(pairs)}
    rows = [(*pair, *_flatten(known[pair])) for pair in pairs]
    return pd.DataFrame(rows, columns=["town", "county", "by", "latitude", "longitude"])


def _or_none(names: pd.Series) -> list[str | None]:
    return [str(name) if known else None for name, known in zip(names, names.notna(), strict=True)]


def _flatten(resolved: ResolvedPlace | None) -> tuple[str | None, float, float]:
    return (resolved.level, *resolved.place[1:]) if resolved else (None, np.nan, np.nan)


def _report(features: pd.DataFrame, located: pd.DataFrame, places: Gazetteer) -> dict[str, Any]:
    named = located[located["town"].notna()]
    distinct = named.drop_duplicates(["town", "county"])
    unknown = named[named["by"].isna()].fillna({"county": ""})
    most_frequent = Counter(zip(unknown["town"], unknown["county"], strict=True)).most_common(
        MOST_FREQUENT
    )
    families = features["family"].value_counts()
    return {
        "listings": _count_by_source(named) | {"all": len(located), "with_town": len(named)},
        "places": _count_by_source(distinct) | {"distinct": len(distinct)},
        "with_coordinates": float(features["latitude"].notna().mean()),
        "most_frequent_unknown": [
            {"town": town, "county": county or None, "listings": count}
            for (town, county), count in most_frequent
        ],
        "off_by_county_km": _county_error(named, places),
        "families": {
            "larger_than_one": int((families > 1).sum()),
            "listings_in_them": int(families[families > 1].sum()),
            "largest": int(families.max()),
        },
    }


def _report_attributes(
    attributes: list[tuple[Attribute, ...]], brands: frozenset[str]
) -> dict[str, Any]:
    kinds = Counter(
        kind for by_listing in attributes for kind in {attribute.kind for attribute in by_listing}
    )
    shares = {kind: round(kinds[kind] / max(1, len(attributes)), 4) for kind in KINDS}
    return {"attributes": shares, "brands": sorted(brands)}


def _count_by_source(located: pd.DataFrame) -> dict[str, int]:
    counts = located["by"].value_counts()
    return {
        "by_town": int(counts.get("town", 0)),
        "by_county": int(counts.get("county", 0)),
        "unknown": int(located["by"].isna().sum()),
    }


def _county_error(named: pd.DataFrame, places: Gazetteer) -> dict[str, float] | None:
    """Return distances between listings in known towns and their county's center, in km; None if none."""
    known = named[named["by"] == "town"]
    stand_ins = {
        county: resolved.place
        for county in known["county"].dropna().unique()
        if (resolved := places.resolve("", county)) is not None
    }
    measured = known[known["county"].isin(stand_ins.keys())]
    if measured.empty:
        return None
    centers = [stand_ins[county] for county in measured["county"]]
    km = distance_km(
        measured["latitude"],
        measured["longitude"],
        [center.latitude for center in centers],
        [center.longitude for center in centers],
    )
    return {"median": float(np.median(km)), "nine_in_ten": float(np.quantile(km, 0.9))}


def build_listing_cards(products: pd.DataFrame) -> bytes:
    """Build the listing cards that the server shows, sorted by id; Parquet."""
    buffer = io.BytesIO()
    cards = products[list(Listing._fields)].sort_values("product_id", ignore_index=True)
    cards.to_parquet(buffer, index=False)
    return buffer.getvalue()


def build_descriptions(products: pd.DataFrame) -> bytes:
    """Build the descriptions that the server shows, sorted by id; Parquet."""
    ordered = products.sort_values("product_id")
    return write_descriptions(ordered["product_id"].tolist(), ordered["description"].tolist())
