"""The table of listings, from as it was found to as it can be used."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.cleaning import CleaningParameters, TableParameters
from fb_marketplace.pipelines.cleaning import parsing, prices, text
from fb_marketplace.pipelines.cleaning.quarantine import Rejection, quarantine_rows
from fb_marketplace.schemas.reasons import ERASED
from fb_marketplace.storage.csv_reader import TORN
from fb_marketplace.storage.erasure_list import DETAIL, EMPTY_ERASURE_LIST, ErasureList

COLUMN_NAMES: Final = frozenset(
    (
        *("row", "product_id", "title", "description", "price", "currency", "price_flag"),
        *("location", "town", "county", "category", "category_path", "category_code"),
        *("category_depth", "odd_category_depth", "repeats", "repeated_in", "copy_of", "photos"),
        *("image_id", "source_key", "source_size", "source_etag"),
    )
)
"""The columns that cleaning makes."""


class CleanedTable(NamedTuple):
    """Rows that stay and rows that were turned away."""

    kept: pd.DataFrame
    quarantined: pd.DataFrame


def clean_products(
    raw_products: pd.DataFrame,
    parameters: CleaningParameters,
    forgotten: ErasureList = EMPTY_ERASURE_LIST,
) -> CleanedTable:
    """Clean the listings, flags beside values.

    Args:
        raw_products: all columns as text, one row a listing, as it stands in the bucket.
        parameters: what counts as missing, and how each field is written.
        forgotten: listings of which nothing is to be kept.

    Returns:
        One row a listing, with ``repeats`` saying how many further rows said the same, and the
        quarantine rows of those that were turned away.

    Raises:
        UserError: the table lacks a column that the parameters name.
    """
    rows = rename_columns(raw_products, parameters.products, "raw_products")
    rows, others, forgot = split_erased(rows, "product_id", forgotten, ("product_id",))
    whole, torn = drop_torn_rows(others)
    kept, turned = drop_incomplete_rows(whole, parameters, parameters.products.required)
    amounts, unparsable = _amounts(kept, parameters)
    kept, repeated_in, conflicting = merge_repeated_rows(kept.loc[amounts.index], "product_id")
    turned += forgot + torn + unparsable + conflicting
    kept = _with_prices(kept, amounts, parameters)
    kept["repeats"] = repeated_in.map(len).astype("int64")
    kept = _with_categories(_with_places(_with_texts(kept, parameters), parameters), parameters)
    kept["copy_of"] = _leading_copies(kept)
    return CleanedTable(
        kept.reset_index(drop=True), quarantine_rows("products", turned, rows, "product_id")
    )


def add_photo_counts(cleaned_products: pd.DataFrame, image_products: pd.DataFrame) -> pd.DataFrame:
    """Say of each listing how many photos of it are left.

    Args:
        cleaned_products: the listings.
        image_products: ``image_id`` and ``product_id`` of each photo that is left.
    """
    counts = image_products["product_id"].value_counts()
    photos = cleaned_products["product_id"].map(counts).fillna(0).astype("int64")
    return cleaned_products.assign(photos=photos)


def rename_columns(raw: pd.DataFrame, parameters: TableParameters, table: str) -> pd.DataFrame:
    """Give a raw table our column names, with the row number it had; further columns pass through.

    One that is called as we call something else gets ``raw_`` before its name.

    Raises:
        UserError: a column that the parameters name is not there.
    """
    missing = [name for name in parameters.columns.values() if name not in raw.columns]
    if missing:
        raise UserError(
            f"{table} lacks the column {', '.join(missing)}; it has {', '.join(map(repr, raw.columns))}. "
            "Name the columns as they are under `cleaning:` in parameters_cleaning.yml; where a name "
            "ends in '\\r', set `lineterminator` in catalog_cleaning.yml"
        )
    ours = {theirs: name for name, theirs in parameters.columns.items()}
    table_rows = raw.drop(columns=[name for name in parameters.ignored if name in raw.columns])
    for name in sorted(COLUMN_NAMES & set(table_rows.columns) - ours.keys()):
        ours[name] = f"raw_{name}"
        while ours[name] in table_rows.columns:
            ours[name] = f"raw_{ours[name]}"
    table_rows = table_rows.rename(columns=ours).convert_dtypes().astype("str").fillna("")
    table_rows.insert(0, "row", range(len(table_rows)))
    return table_rows


def split_erased(
    rows: pd.DataFrame, key: str, forgotten: ErasureList, by: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame, list[Rejection]]:
    """Part the rows of what is to be forgotten from those of all others.

    Args:
        rows: of a table, named.
        key: the column by which the ledger names a row.
        forgotten: who is to be forgotten.
        by: the columns that tell: ``product_id``, ``image_id``, or both.

    Returns:
        All rows, in which what is to be forgotten has other keys; those of all others; and what to enter
        into the ledger.
    """
    gone = pd.Series(False, index=rows.index, dtype="bool")
    if "product_id" in by and forgotten.products:
        gone |= rows["product_id"].map(forgotten.has_product).astype("bool")
    if "image_id" in by and forgotten.images:
        gone |= rows["image_id"].map(forgotten.has_image).astype("bool")
    if not gone.any():
        return rows, rows, []
    masked = rows.copy()
    masked.loc[gone, key] = [forgotten.masked(name) for name in rows.loc[gone, key]]
    turned = [Rejection(int(str(row)), ERASED, DETAIL) for row in rows.index[gone]]
    return masked, masked[~gone].copy(), turned


def drop_torn_rows(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[Rejection]]:
    """Part the lines that were torn, as a raw table's dataset found them, from the rows."""
    if TORN not in rows:
        return rows, []
    torn = rows[TORN] != ""
    turned = [Rejection(row, "torn_line", rows.loc[row, TORN]) for row in rows.index[torn]]
    return rows[~torn].drop(columns=TORN), turned


def drop_incomplete_rows(
    rows: pd.DataFrame, parameters: CleaningParameters, required: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Rejection]]:
    """Part the rows that lack a required field from those that have them all."""
    missing = frozenset(value.casefold() for value in parameters.missing)
    gaps = pd.DataFrame(
        {
            name: [
                not missing.isdisjoint(_meant(name, value, parameters))
                for value in rows[name].str.casefold()
            ]
            for name in required
        },
        index=rows.index,
        dtype="bool",
    )
    lacking = gaps.any(axis=1)
    turned = [
        Rejection(row, "missing_field", f"no {', '.join(gaps.columns[gaps.loc[row]])}")
        for row in rows.index[lacking]
    ]
    return rows[~lacking].copy(), turned


def merge_repeated_rows(
    rows: pd.DataFrame, by: str
) -> tuple[pd.DataFrame, pd.Series, list[Rejection]]:
    """Fold rows that say the same under one id into the first; the others of that id are turned away.

    Returns:
        The first row of each id; for each of them, the numbers of the further rows that repeat it; and
        the rows that have a known id but say something else.
    """
    first = ~rows.duplicated(by)
    leading = rows[first].copy()
    said = rows.drop(columns=["row", by])
    as_the_first = (said == said.groupby(rows[by]).transform("first")).all(axis=1)
    repeat = as_the_first & ~first
    numbers = rows[repeat].groupby(by)["row"].agg(list).to_dict()
    repeated_in = pd.Series(
        [numbers.get(key, []) for key in leading[by]], index=leading.index, dtype="object"
    )
    conflicting = [
        Rejection(
            row,
            "conflicting_row",
            f"{by} {rows.loc[row, by]!s} stands in an earlier row that says otherwise",
        )
        for row in rows.index[~first & ~repeat]
    ]
    return leading, repeated_in, conflicting


def _meant(name: str, value: str, parameters: CleaningParameters) -> set[str]:
    """Give what a field says once it is cleaned, whole and by its parts: "/" is no category."""
    said = {text.normalize_line(value)}
    if name == "category_path":
        said.add(" ".join(parsing.category_levels(value, parameters.category.separator)))
    if name == "location":
        place = parsing.parse_location(value, parameters.text.location_separator)
        said.add(" ".join(filter(None, place)))
    return said


def _amounts(
    rows: pd.DataFrame, parameters: CleaningParameters
) -> tuple[pd.Series, list[Rejection]]:
    amounts: dict[int, float] = {}
    turned: list[Rejection] = []
    for row, price in rows["price"].items():
        try:
            amounts[int(str(row))] = prices.parse_price(price, parameters.price)
        except prices.UnparsablePriceError as error:
            turned.append(Rejection(int(str(row)), "unparsable_price", str(error)))
    return pd.Series(amounts, index=pd.Index(list(amounts), dtype="int64"), dtype="float64"), turned


def _with_prices(
    rows: pd.DataFrame, amounts: pd.Series, parameters: CleaningParameters
) -> pd.DataFrame:
    asked = amounts.loc[rows.index]
    flags = [prices.flag_price(amount, parameters.price) for amount in asked]
    return rows.assign(
        price=asked,
        currency=pd.Series(parameters.price.currency, index=rows.index, dtype="str"),
        price_flag=pd.Series(flags, index=rows.index, dtype="str"),
    )


def _with_texts(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    tail = re.compile(parameters.text.title_tail)

    def title(found: str) -> str:
        whole = text.normalize_line(found)
        return tail.sub("", whole).strip() or whole

    return rows.assign(
        title=_mapped(rows["title"], title),
        description=_mapped(rows["description"], text.normalize),
    )


def _with_places(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    """Part locations into town and county."""
    separator = parameters.text.location_separator
    parts = [parsing.parse_location(place, separator) for place in rows["location"]]
    return rows.assign(
        location=_mapped(rows["location"], text.normalize_line),
        town=pd.Series([part.town for part in parts], index=rows.index, dtype="str"),
        county=pd.Series([part.county for part in parts], index=rows.index, dtype="str"),
    )


def _with_categories(rows: pd.DataFrame, parameters: CleaningParameters) -> pd.DataFrame:
    """Parse category paths; roots are encoded by their place in the alphabet."""
    separator = parameters.category.separator
    paths = [parsing.category_levels(path, separator) for path in rows["category_path"]]
    roots = pd.Series([path[0] if path else "" for path in paths], index=rows.index, dtype="str")
    codes = {root: code for code, root in enumerate(sorted(set(roots)))}
    shallow, deep = parameters.category.usual_depth
    return rows.assign(
        category_path=pd.Series(
            [separator.join(path) for path in paths], index=rows.index, dtype="str"
        ),
        category=roots,
        category_code=roots.map(codes).astype("int64"),
        category_depth=pd.Series([len(path) for path in paths], index=rows.index, dtype="int64"),
        odd_category_depth=pd.Series(
            [not shallow <= len(path) <= deep for path in paths], index=rows.index, dtype="bool"
        ),
    )


def _leading_copies(rows: pd.DataFrame) -> pd.Series:
    """Give, for each listing that repeats another's title and description, the oldest such listing."""
    said = (
        _mapped(rows["title"], text.casefold_text)
        + "\n"
        + _mapped(rows["description"], text.casefold_text)
    )
    leaders = rows["product_id"].groupby(said).transform("first")
    return leaders.where(leaders != rows["product_id"]).astype("str")


def _mapped(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    return pd.Series([function(value) for value in column], index=column.index, dtype="str")
