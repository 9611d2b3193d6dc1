"""Title, description and place of a listing as features: TF-IDF, each block of unit length."""

from copy import copy
from typing import Any, Final

import numpy as np
import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.baselines import TextFeatureParameters

FEW_LISTINGS: Final = 200
"""Below this a run of words counts if it stands in one listing."""

COLUMNS: Final = ("title", "description", "both", "town", "county")


def text_table(products: pd.DataFrame) -> pd.DataFrame:
    """Give the columns that text features are made of; what is missing is empty."""
    found = products[["title", "description", "town", "county"]].fillna("").astype("str")
    return found.assign(both=found["title"] + "\n" + found["description"])[list(COLUMNS)]


def text_features(parameters: TextFeatureParameters, listings: int, place_weight: float = 0) -> Any:
    """Make a ``ColumnTransformer``, not fitted yet: a table of :func:`text_table` to sparse float32.

    The title has blocks of its own, as long as the description's, so that its few words weigh more.

    Args:
        parameters: which runs of words and characters count.
        listings: how many it will be fitted on.
        place_weight: of town and county; 0 leaves them out.
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
    if place_weight:
        places = OneHotEncoder(handle_unknown="ignore", min_frequency=words, dtype=np.float32)
        blocks.append(("place", places, ["town", "county"]))
    weights = {name: place_weight if name == "place" else 1.0 for name, _, _ in blocks}
    return ColumnTransformer(blocks, transformer_weights=weights, sparse_threshold=1.0)


def plain_words(parameters: TextFeatureParameters, listings: int) -> Any:
    """Make the plain one: TF-IDF of the words of title and description together."""
    from sklearn.compose import ColumnTransformer

    least = 1 if listings < FEW_LISTINGS else parameters.min_listings_word
    return ColumnTransformer([("words", _tfidf(parameters.word_ngrams, least), "both")])


def fit_text(features: Any, table: pd.DataFrame) -> Any:
    """Fit on a table, and give what the table becomes.

    Raises:
        UserError: a column holds no word at all.
    """
    try:
        features.fit(table)
    except ValueError as error:
        if "vocabulary" in str(error) or "no terms" in str(error).lower():
            raise UserError(
                f"titles or descriptions of {len(table)} training listings hold no words to learn from; "
                "see the columns' names under `cleaning:` in parameters_cleaning.yml"
            ) from error
        raise
    # Not fit_transform, whose sums come in another order: a model read back must answer the same.
    return features.transform(table)


def pack_text(features: Any) -> dict[str, Any]:
    """Give fitted features and, apart from them, their terms: skops writes each as an object of its own,
    at a hundred times its size.
    """
    lean, terms = copy(features), dict[str, str]()
    lean.transformers_ = []
    for name, fitted, columns in features.transformers_:
        kept = copy(fitted)
        if hasattr(fitted, "vocabulary_"):
            terms[name] = "\n".join(sorted(fitted.vocabulary_, key=fitted.vocabulary_.get))
            kept.vocabulary_ = {}
        lean.transformers_.append((name, kept, columns))
    return {"features": lean, "terms": terms}


def unpack_text(packed: dict[str, Any]) -> Any:
    """Put the terms back where :func:`pack_text` took them from."""
    features = packed["features"]
    for name, fitted, _ in features.transformers_:
        if name in packed["terms"]:
            # No term holds a line's end: words do not, and letters are counted inside words.
            terms = packed["terms"][name].split("\n")
            fitted.vocabulary_ = {term: place for place, term in enumerate(terms)}
    return features


def _tfidf(ngrams: tuple[int, int], least: int, analyzer: str = "word") -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pattern = None if analyzer == "char_wb" else r"(?u)\b\w+\b"
    return TfidfVectorizer(
        analyzer=analyzer,
        ngram_range=tuple(ngrams),
        min_df=least,
        token_pattern=pattern,
        sublinear_tf=True,
        dtype=np.float32,
    )
