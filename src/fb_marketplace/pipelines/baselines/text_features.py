"""TF-IDF features of title, description and place; each block has unit norm."""

from copy import copy
from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.parameters.baselines import TextFeatureParameters
from fb_marketplace.skipping import InsufficientDataError

FEW_LISTINGS: Final = 200
"""With fewer listings, an n-gram counts even if it occurs in only one."""

COLUMNS: Final = ("title", "description", "both", "town", "county")


def text_table(products: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the text features; missing values are empty strings."""
    columns = products[["title", "description", "town", "county"]].fillna("").astype("str")
    return columns.assign(both=columns["title"] + "\n" + columns["description"])[list(COLUMNS)]


def text_features(
    parameters: TextFeatureParameters, listings: int, location_weight: float = 0
) -> Any:
    """Return an unfitted ``ColumnTransformer`` from :func:`text_table` to sparse float32.

    Title and description have separate blocks of equal norm, so the few words of a title weigh more.

    Args:
        parameters: n-gram ranges and minimum frequencies.
        listings: number of listings to fit on.
        location_weight: weight of town and county; 0 leaves them out.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    few = listings < FEW_LISTINGS
    words = 1 if few else parameters.min_listings_word
    characters = 1 if few else parameters.min_listings_characters
    blocks: list[tuple[str, Any, Any]] = [
        ("all words", _tfidf((1, 1), 1), "both"),
        ("title words", _tfidf(parameters.word_ngrams, words), "title"),
        ("description words", _tfidf(parameters.word_ngrams, words), "description"),
        ("title letters", _tfidf(parameters.character_ngrams, characters, "char_wb"), "title"),
        (
            "description letters",
            _tfidf(parameters.character_ngrams, characters, "char_wb"),
            "description",
        ),
    ]
    if location_weight:
        places = OneHotEncoder(handle_unknown="ignore", min_frequency=words, dtype=np.float32)
        blocks.append(("place", places, ["town", "county"]))
    weights = {name: location_weight if name == "place" else 1.0 for name, _, _ in blocks}
    return ColumnTransformer(blocks, transformer_weights=weights, sparse_threshold=1.0)


def plain_words(parameters: TextFeatureParameters, listings: int) -> Any:
    """Return unfitted TF-IDF of the words of title and description together."""
    from sklearn.compose import ColumnTransformer

    min_df = 1 if listings < FEW_LISTINGS else parameters.min_listings_word
    return ColumnTransformer([("words", _tfidf(parameters.word_ngrams, min_df), "both")])


def fit_text(features: Any, table: pd.DataFrame) -> Any:
    """Fit the transformer on a table and return the table's features.

    A column without words, such as the descriptions of a market without any, has no features.

    Raises:
        InsufficientDataError: no column contains words.
    """
    has_words = {name: column.str.contains(r"\w").any() for name, column in table.items()}
    features.transformers = [
        block
        for block in features.transformers
        if not isinstance(block[2], str) or has_words[block[2]]
    ]
    try:
        if not has_words["both"]:
            raise ValueError("empty vocabulary")
        features.fit(table)
    except ValueError as error:
        if "vocabulary" in str(error) or "no terms" in str(error).lower():
            raise InsufficientDataError(
                f"The titles and descriptions of {len(table)} training listings contain no words. "
                "Check the column names under `cleaning:` in parameters_cleaning.yml."
            ) from error
        raise
    # Not fit_transform: it sums in another order, and a reloaded model must predict the same.
    return features.transform(table)


def pack_text(features: Any) -> dict[str, Any]:
    """Separate the vocabulary from fitted features.

    skops would store each term as an object of its own, at a hundred times the size.
    """
    lean, terms = copy(features), dict[str, str]()
    lean.transformers_ = []
    for name, fitted, columns in features.transformers_:
        lean_block = copy(fitted)
        if hasattr(fitted, "vocabulary_"):
            terms[name] = "\n".join(sorted(fitted.vocabulary_, key=fitted.vocabulary_.get))
            lean_block.vocabulary_ = {}
        lean.transformers_.append((name, lean_block, columns))
    return {"features": lean, "terms": terms}


def unpack_text(packed: dict[str, Any]) -> Any:
    """Restore the vocabulary that :func:`pack_text` separated."""
    features = packed["features"]
    for name, fitted, _ in features.transformers_:
        if name in packed["terms"]:
            # No term contains a newline: neither words nor character n-grams inside words do.
            terms = packed["terms"][name].split("\n")
            fitted.vocabulary_ = {term: index for index, term in enumerate(terms)}
    return features


def _tfidf(ngrams: tuple[int, int], min_df: int, analyzer: str = "word") -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = None if analyzer == "char_wb" else r"(?u)\b\w+\b"
    return TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=tuple(ngrams),
        min_df=min_df,
        token_pattern=pattern,
        sublinear_tf=True,
        dtype=np.float32,
    )
