"""Cleaning of the table of listings; steps that the table of images shares."""

import logging
import math
import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.cleaning import (
    CleaningParameters,
    TableParameters,
    check_category_separator,
)
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.cleaning import parsing, prices, text
from fb_marketplace.pipelines.cleaning.quarantine import Rejection, quarantine_rows
from fb_marketplace.schemas.dates import DateFlag, flag_date, parse_date
from fb_marketplace.schemas.ids import invalid_id, normalize_id
from fb_marketplace.schemas.reasons import Reason, Stage
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.tables.csv_rows import TORN
from fb_marketplace_serving.storage.erasure_list import DETAIL, EMPTY_ERASURE_LIST, ErasureList

COLUMN_NAMES: Final = frozenset(
    (
        *("row", "product_id", "title", "description", "price", "currency", "price_flag"),
        *("location", "town", "county", "category", "category_path", "category_code"),
        *("category_depth", "odd_category_depth", "respelled_category"),
        *("repeats", "repeated_in", "copy_of", "photos", "created_at", "date_flag"),
        *("image_id", "source_key", "source_size", "source_etag"),
    )
)
"""Names of the columns that cleaning produces, for listings and images."""

ID_COLUMNS: Final = ("product_id", "image_id")

logger = logging.getLogger(__name__)


class CleanedTable(NamedTuple):
    """Accepted rows, and the quarantine table of the rejected rows."""

    rows: pd.DataFrame
    quarantined: pd.DataFrame


def clean_products(
    raw_products: pd.DataFrame,
    parameters: CleaningParameters,
    erasure_list: ErasureList = EMPTY_ERASURE_LIST,
) -> CleanedTable:
    """Clean the listings: parse and normalize the fields, merge repeated rows, add flags.

    Args:
        raw_products: one row per listing, all columns as text, as in the raw table.
        parameters: column names, missing values, and the format of each field.
        erasure_list: listings to remove.

    Returns:
        One row per listing, with the number of merged rows in ``repeats``; and the quarantine table of
        the rejected rows.

    Raises:
        UserError: the table lacks a required column, or has categories with another separator.
    """
    rows = rename_columns(raw_products, parameters.products, "raw_products")
    dates = parameters.products.columns.get("created_at")
    if dates and dates not in raw_products:
        logger.warning(
            "raw_products has no column %r, so listings have no dates of their own. Set or remove "
            "`created_at` under cleaning.products.columns in parameters_cleaning.yml.",
            dates,
        )
    rows, others, erased = split_erased(rows, "product_id", erasure_list, ("product_id",))
    others, torn = drop_torn_rows(others)
    check_category_separator(others["category_path"], parameters.category.separator)
    others, invalid = drop_invalid_ids(others, ("product_id",))
    listings, rejected = drop_incomplete_rows(
        others, parameters, parameters.products.required_columns
    )
    price = parameters.products.columns["price"]
    written = raw_products[price] if price in raw_products else rows["price"]
    written = written.loc[listings.index]
    amounts, unparsable = _parse_prices(written, listings["price"], parameters)
    listings, repeated_in, conflicting = merge_repeated_rows(
        listings.loc[amounts.index], "product_id"
    )
    rejected += erased + torn + invalid + unparsable + conflicting
    listings = _add_prices(listings, amounts, parameters)
    listings["repeats"] = repeated_in.map(len).astype("int64")
    listings = _normalize_texts(listings, parameters)
    listings = _add_categories(_add_locations(listings, parameters), parameters)
    listings["copy_of"] = _find_copies(listings)
    listings = parse_dates(listings, parameters.products, parameters.missing_values)
    return CleanedTable(
        listings.reset_index(drop=True),
        quarantine_rows(Stage.PRODUCTS, rejected, rows, "product_id"),
    )


def add_photo_columns(
    cleaned_products: pd.DataFrame, image_products: pd.DataFrame, cleaned_image_rows: pd.DataFrame
) -> pd.DataFrame:
    """Add the number of photos of each listing, and the date of the oldest one if a listing has none.

    Args:
        cleaned_products: the accepted listings.
        image_products: ``image_id`` and ``product_id`` of each stored photo.
        cleaned_image_rows: the accepted image rows, with their dates.

    Returns:
        The listings with ``photos``. A listing keeps the flag of its own date; one without any date gets
        that of a photo.
    """
    listed = cleaned_products["product_id"]
    by_listing = cleaned_image_rows.groupby("product_id")
    created_at = cleaned_products["created_at"].fillna(listed.map(by_listing["created_at"].min()))
    flags = listed.map(by_listing["date_flag"].first()).astype("str").where(created_at.isna())
    return cleaned_products.assign(
        photos=listed.map(image_products["product_id"].value_counts()).fillna(0).astype("int64"),
        created_at=created_at.astype("Int64"),
        date_flag=cleaned_products["date_flag"].fillna(flags),
    )


def select_categories(products: pd.DataFrame) -> pd.DataFrame:
    """Return the category of each listing: the columns of ``products`` that vision depends on.

    If only a title or a price changes, this table stays the same, and so do all models of photos.
    """
    return products[["product_id", "category", "category_path"]]


def select_labels(
    product_categories: pd.DataFrame,
    previous_product_labels: pd.DataFrame,
    parameters: VisionParameters,
) -> pd.DataFrame:
    """Return the listings whose root category is a class of the classifiers.

    A change of the classes trains the models again. So an existing class is dropped only if it has fewer
    than half of the limit.

    Args:
        product_categories: category of each listing.
        previous_product_labels: listings of classes in an earlier run; may be empty.
        parameters: ``min_listings_per_category``; smaller categories are not classes.

    Raises:
        InsufficientDataError: there are fewer than two classes.
    """
    min_listings = parameters.min_listings_per_category
    counts = product_categories["category"].value_counts(ascending=True)
    classes_before = set(previous_product_labels.get("category", ()))
    limits = np.where(counts.index.isin(classes_before), min_listings / 2, min_listings)
    small = counts[counts < limits]
    labels = product_categories[~product_categories["category"].isin(small.index)]
    classes = len(counts) - len(small)
    if classes < 2:
        raise InsufficientDataError(
            f"{classes} of {len(counts)} root categories have at least {min_listings} listings "
            "(vision.min_listings_per_category); a category classifier needs two"
        )
    if len(small):
        logger.info(
            "%d categories with fewer than %d listings are not classes of the classifiers: %s",
            *(len(small), min_listings, ", ".join(f"{name} ({n})" for name, n in small.items())),
        )
    return labels


def rename_columns(raw: pd.DataFrame, parameters: TableParameters, table: str) -> pd.DataFrame:
    """Rename the columns of a raw table to the names of the parameters, and add row numbers.

    Other columns keep their names. If one clashes with ``COLUMN_NAMES``, it gets the prefix ``raw_``. A
    column that is not required may be missing; it is then empty.

    Raises:
        UserError: the table lacks a required column.
    """
    absent = {name for name, theirs in parameters.columns.items() if theirs not in raw.columns}
    missing = [parameters.columns[name] for name in parameters.required_columns if name in absent]
    if missing:
        raise UserError(
            f"{table} is missing columns: {', '.join(missing)}; found {', '.join(map(repr, raw.columns))}. "
            "Set the column names under `cleaning:` in parameters_cleaning.yml, or leave fields out of "
            "`required_columns` there; or set the format of the file under load_args in "
            "catalog_cleaning.yml."
        )
    ours = {theirs: name for name, theirs in parameters.columns.items()}
    rows = raw.drop(columns=[name for name in parameters.ignored_columns if name in raw.columns])
    for name in sorted(COLUMN_NAMES & set(rows.columns) - ours.keys()):
        ours[name] = f"raw_{name}"
        while ours[name] in rows.columns:
            ours[name] = f"raw_{ours[name]}"
    rows = rows.rename(columns=ours).convert_dtypes().astype("str").fillna("")
    rows = rows.assign(**dict.fromkeys(sorted(absent), ""))
    for name in ID_COLUMNS:
        if name in rows.columns:
            rows[name] = _map(rows[name], normalize_id)
    rows.insert(0, "row", range(len(rows)))
    return rows


def split_erased(
    rows: pd.DataFrame, key: str, erasure_list: ErasureList, id_columns: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Rejection]]:
    """Separate the rows of erased listings and photos from all others.

    Args:
        rows: a table from :func:`rename_columns`.
        key: the column that identifies a row in the quarantine table.
        erasure_list: listings and photos to remove.
        id_columns: the columns to look up: ``product_id``, ``image_id``, or both.

    Returns:
        All rows, with masked keys for the erased ones; the rows that are not erased; and the rejections.
    """
    erased = pd.Series(False, index=rows.index, dtype="bool")
    if "product_id" in id_columns and erasure_list.products:
        erased |= rows["product_id"].map(erasure_list.has_product).astype("bool")
    if "image_id" in id_columns and erasure_list.images:
        erased |= rows["image_id"].map(erasure_list.has_image).astype("bool")
    if not erased.any():
        return rows, rows, []
    masked = rows.copy()
    masked.loc[erased, key] = [erasure_list.masked(name) for name in rows.loc[erased, key]]
    rejected = [Rejection(int(str(row)), Reason.ERASED, DETAIL) for row in rows.index[erased]]
    return masked, masked[~erased].copy(), rejected


def drop_torn_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """Return the intact rows, and the rejections of lines that the CSV reader marked as torn."""
    if TORN not in rows:
        return rows, []
    torn = rows[TORN] != ""
    rejected = [Rejection(row, Reason.TORN_LINE, rows.loc[row, TORN]) for row in rows.index[torn]]
    return rows[~torn].drop(columns=TORN), rejected


def drop_invalid_ids(
    rows: pd.DataFrame, id_columns: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Rejection]]:
    """Return the rows whose ids can be used, and the rejections of the others."""
    rejected: dict[int, Rejection] = {}
    for name in id_columns:
        for label, value in rows[name].items():
            if value and (reason := invalid_id(value)):
                row = int(str(label))
                rejected[row] = Rejection(row, Reason.INVALID_ID, f"{name} has {reason}")
    return rows.drop(index=list(rejected)), list(rejected.values())


def drop_incomplete_rows(
    rows: pd.DataFrame, parameters: CleaningParameters, required: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Rejection]]:
    """Return the rows that have all required fields, and the rejections of the others."""
    missing_values = frozenset(value.casefold() for value in parameters.missing_values)
    missing = pd.DataFrame(
        {
            name: [
                not missing_values.isdisjoint(_cleaned_forms(name, value, parameters))
                for value in rows[name].str.casefold()
            ]
            for name in required
        },
        index=rows.index,
        dtype="bool",
    )
    incomplete = missing.any(axis=1)
    rejected = [
        Rejection(row, Reason.MISSING_FIELD, f"no {', '.join(missing.columns[missing.loc[row]])}")
        for row in rows.index[incomplete]
    ]
    return rows[~incomplete].copy(), rejected


def merge_repeated_rows(
    rows: pd.DataFrame, by: str
) -> tuple[pd.DataFrame, pd.Series, list[Rejection]]:
    """Merge equal rows of one id into the first; reject rows of that id that differ from it.

    Returns:
        The first row of each id; the numbers of the rows that repeat it, as a list per id; and the
        rejections.
    """
    first = ~rows.duplicated(by)
    leading = rows[first].copy()
    content = rows.drop(columns=["row", by])
    equals_first = (content == content.groupby(rows[by]).transform("first")).all(axis=1)
    repeat = equals_first & ~first
    numbers = rows[repeat].groupby(by)["row"].agg(list).to_dict()
    repeated_in = pd.Series(
        [numbers.get(key, []) for key in leading[by]], index=leading.index, dtype="object"
    )
    conflicting = [
        Rejection(
            row,
            Reason.CONFLICTING_ROW,
            f"an earlier row with {by} {rows.loc[row, by]!s} has other values",
        )
        for row in rows.index[~first & ~repeat]
    ]
    return leading, repeated_in, conflicting


def parse_dates(
    rows: pd.DataFrame, parameters: TableParameters, missing_values: tuple[str, ...]
) -> pd.DataFrame:
    """Parse the column ``created_at``, and flag the dates that cannot be used.

    A future date counts as unknown, since the clock was wrong, until the row is cleaned again.

    Returns:
        The rows with ``created_at`` in seconds since 1970, UTC, missing if it is unknown; and
        ``date_flag``, missing if there is no date or a plausible one.
    """
    now = time.time()
    missing = {"", *(value.casefold() for value in missing_values)}
    parsed: dict[str, tuple[int | None, str | None]] = dict.fromkeys(missing, (None, None))
    values = rows["created_at"] if "created_at" in rows else [""] * len(rows)
    lines = [text.normalize_line(value).casefold() for value in values]
    for line in set(lines) - missing:
        seconds = parse_date(line, parameters.date_formats)
        flag = DateFlag.UNREADABLE if seconds is None else flag_date(seconds, now)
        parsed[line] = (None, flag.value) if flag else (seconds, None)
    dates = [parsed[line] for line in lines]
    return rows.assign(
        created_at=pd.Series([seconds for seconds, _ in dates], index=rows.index, dtype="Int64"),
        date_flag=pd.Series([flag for _, flag in dates], index=rows.index, dtype="str"),
    )


def _cleaned_forms(name: str, value: str, parameters: CleaningParameters) -> set[str]:
    """Return a field's value after cleaning, as a line and as its joined parts.

    The category "/" has text, but no parts, so it counts as missing.
    """
    forms = {text.normalize_line(value)}
    if name == "category_path":
        forms.add(" ".join(parsing.category_levels(value, parameters.category.separator)))
    if name == "location":
        location = parsing.parse_location(value, parameters.text.location_separator)
        forms.add(" ".join(filter(None, location)))
    return forms


def _parse_prices(
    written: pd.Series, as_text: pd.Series, parameters: CleaningParameters
) -> tuple[pd.Series, list[Rejection]]:
    """Return the amounts, NaN for a missing price, and the rejections of the other texts."""
    missing_values = {value.casefold() for value in parameters.missing_values}
    amounts: dict[int, float] = {}
    rejected: list[Rejection] = []
    for (label, price), line in zip(written.items(), as_text, strict=True):
        row = int(str(label))
        if text.normalize_line(line).casefold() in missing_values:
            amounts[row] = math.nan
            continue
        try:
            amounts[row] = prices.parse_price(price, parameters.price)
        except prices.UnparsablePriceError as error:
            rejected.append(Rejection(row, Reason.UNPARSABLE_PRICE, str(error)))
    index = pd.Index(list(amounts), dtype="int64")
    return pd.Series(amounts, index=index, dtype="float64"), rejected


def _add_prices(
    rows: pd.DataFrame, amounts: pd.Series, parameters: CleaningParameters
) -> pd.DataFrame:
    price = amounts.loc[rows.index]
    flags = [prices.flag_price(amount, parameters.price) for amount in price]
    return rows.assign(
        price=price,
        currency=pd.Series(parameters.price.currency, index=rows.index, dtype="str"),
        price_flag=pd.Series(flags, index=rows.index, dtype="str"),
    )


def _normalize_texts(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    suffix = re.compile(parameters.text.title_suffix_pattern)

    def title(value: str) -> str:
        line = text.normalize_line(value)
        return suffix.sub("", line).strip() or line

    return rows.assign(
        title=_map(rows["title"], title), description=_map(rows["description"], text.normalize)
    )


def _add_locations(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    """Add the town and county of each location."""
    separator = parameters.text.location_separator
    locations = [parsing.parse_location(value, separator) for value in rows["location"]]
    return rows.assign(
        location=_map(rows["location"], text.normalize_line),
        town=pd.Series([place.town for place in locations], index=rows.index, dtype="str"),
        county=pd.Series([place.county for place in locations], index=rows.index, dtype="str"),
    )


def _add_categories(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    """Parse category paths. The code of a root category is its position in alphabetical order.

    Categories that differ only by case, spaces or HTML entities are one.
    """
    separator = parameters.category.separator
    written = [parsing.category_levels(path, separator) for path in rows["category_path"]]
    paths = parsing.unify_spelling(written)
    respelled = [path != old for path, old in zip(paths, written, strict=True)]
    roots = pd.Series([path[0] if path else "" for path in paths], index=rows.index, dtype="str")
    codes = {root: code for code, root in enumerate(sorted(set(roots)))}
    shallow, deep = parameters.category.usual_depth
    depths = [len(path) for path in paths]
    odd = [not shallow <= depth <= deep for depth in depths]
    joined = [separator.join(path) for path in paths]
    return rows.assign(
        category_path=pd.Series(joined, index=rows.index, dtype="str"),
        category=roots,
        category_code=roots.map(codes).astype("int64"),
        category_depth=pd.Series(depths, index=rows.index, dtype="int64"),
        odd_category_depth=pd.Series(odd, index=rows.index, dtype="bool"),
        respelled_category=pd.Series(respelled, index=rows.index, dtype="bool"),
    )


def _find_copies(rows: pd.DataFrame) -> pd.Series:
    """Return, per listing, the id of an older one with the same title and description, if there is one."""
    title, description = (_map(rows[name], text.casefold_text) for name in ("title", "description"))
    leaders = rows["product_id"].groupby(title + "\n" + description).transform("first")
    return leaders.where(leaders != rows["product_id"]).astype("str")


def _map(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    return pd.Series([function(value) for value in column], index=column.index, dtype="str")
