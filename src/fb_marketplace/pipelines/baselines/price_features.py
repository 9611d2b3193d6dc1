"""Price features other than TF-IDF: category path, place, and style of the text."""

from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.parameters.baselines import PriceModelParameters

LEVELS: Final = 3
NUMBERS: Final = (
    "title_length",
    "description_length",
    "photos",
    "category_depth",
    "digits",
    "exclamations",
    "capitals",
)
NAMES: Final = tuple(f"category_{level + 1}" for level in range(LEVELS))


def price_table(products: pd.DataFrame, separator: str) -> pd.DataFrame:
    """Return the columns of price models, except TF-IDF of the text.

    Args:
        products: the listings.
        separator: separator of category paths.

    Returns:
        Text columns: ``category_1`` to ``category_3`` (the path down to that level), ``category_path``,
        ``town`` and ``county``. Float64 columns: ``NUMBERS``; lengths and most counts are log(1 + n).
    """
    parts = products["category_path"].str.split(separator, regex=False)
    title, description = products["title"], products["description"]
    named = {name: parts.str[: level + 1].str.join(separator) for level, name in enumerate(NAMES)}
    numbers = {
        "title_length": np.log1p(title.str.len()),
        "description_length": np.log1p(description.str.len()),
        "photos": np.log1p(products["photos"]),
        "category_depth": products["category_depth"],
        "digits": np.log1p(description.str.count(r"\d")),
        "exclamations": description.str.count("!").clip(upper=5),
        "capitals": title.str.count("[A-Z]") / title.str.len(),
    }
    texts = products[["category_path", "town", "county"]].fillna("")
    return (
        texts.assign(**named)
        .astype("str")
        .assign(**{name: column.astype("float64") for name, column in numbers.items()})
    )


def linear_features(parameters: PriceModelParameters) -> Any:
    """Return an unfitted ``ColumnTransformer`` for linear models.

    It encodes categories and towns as one-hot columns and scales numbers. Rare categories and towns share
    a column. The weights balance these features with the text features.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=parameters.min_path_listings
    )
    places = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=parameters.min_town_listings
    )
    return ColumnTransformer(
        [
            ("categories", categories, [*NAMES, "category_path"]),
            ("places", places, ["town", "county"]),
            ("numbers", StandardScaler(), list(NUMBERS)),
        ],
        transformer_weights={"categories": 0.3, "places": 0.15, "numbers": 0.05},
        sparse_threshold=1.0,
    )


def path_prefixes(path: str, separator: str) -> list[str]:
    """Return a category path and its ancestors, the longest first."""
    parts = path.split(separator)
    return [separator.join(parts[:length]) for length in range(len(parts), 0, -1)]
