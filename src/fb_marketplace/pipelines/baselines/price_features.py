"""What else than its text says what a listing may cost: its category path, its place, its look."""

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
    """Give the columns that price models are made of, besides the text.

    Args:
        products: the listings.
        separator: what parts a category path.

    Returns:
        As text: ``category_1`` to ``category_3``, the path down to that level, ``category_path``,
        ``town`` and ``county``; as float64: ``NUMBERS``, counts as logarithms.
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
    """Make features for linear models, not fitted yet: each category and town a column, numbers scaled.

    What is rare is lumped together. Weights make up for the length that text has beside them.
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


def tree_features() -> Any:
    """Make features for trees, not fitted yet: each category a number, numbers as they are."""
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer(
        [
            ("categories", codes, [*NAMES, "category_path"]),
            ("numbers", "passthrough", list(NUMBERS)),
        ]
    )


def path_prefixes(path: str, separator: str) -> list[str]:
    """Give a category path and all above it, the longest first."""
    parts = path.split(separator)
    return [separator.join(parts[:length]) for length in range(len(parts), 0, -1)]
