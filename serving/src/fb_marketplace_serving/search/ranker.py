"""Candidates in order: trees that learned it from graded searches (LambdaMART; Burges, 2010).

LightGBM's text format holds numbers alone. What each feature adds to a score is told by LightGBM's TreeSHAP
(Lundberg et al., 2020), whose parts add up to the score.
"""

import importlib
import sys
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.ranking_features import FEATURES

BEGINNING: Final = b"tree\n"
END: Final = b"\nend of trees\n"

_WRAPPED: Final = ("pandas", "sklearn")


class RankerError(ValueError):
    """A model that is no ranker of these features; says what was found and what was expected."""


class Contributions(NamedTuple):
    """What scores are made of.

    Attributes:
        base: what a candidate has before anything is known of it.
        parts: float64, (candidates, features); a row and the base add up to the score.
    """

    base: float
    parts: NDArray[np.float64]


class Ranker:
    """An opened ranker. Safe to share between threads."""

    def __init__(self, booster: Any) -> None:
        """Take a ``lightgbm.Booster``; see :meth:`from_bytes`."""
        found = tuple(booster.feature_name())
        if found != FEATURES:
            raise RankerError(
                f"found a model of the features {', '.join(found)}; expected "
                f"{', '.join(FEATURES)}: run the pipeline ranking again"
            )
        self._booster = booster

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Open a model in LightGBM's text format.

        LightGBM trusts what it reads: check its digest before it comes here.

        Raises:
            RankerError: it is no model of LightGBM's, or of other features.
        """
        lightgbm = _lightgbm()
        # Of a model that was cut off LightGBM reads what lies behind it in memory, or ends the process.
        if not data.startswith(BEGINNING) or END not in data:
            raise RankerError(
                f"found {len(data):,} bytes that are no whole model; expected one in LightGBM's text format"
            )
        try:
            booster = lightgbm.Booster(model_str=data.decode())
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise RankerError(
                f"found {len(data):,} bytes that LightGBM cannot read ({error}); expected its text format"
            ) from error
        return cls(booster)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score candidates: float64, (candidates,), higher for better.

        Args:
            features: float64, (candidates, features), as :func:`features_of` gives them.
        """
        if not len(features):
            return np.empty(0)
        found: NDArray[np.float64] = self._booster.predict(features, num_threads=1)
        return found

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Take scores apart; of no candidates the base is 0."""
        if not len(features):
            return Contributions(0.0, np.empty((0, len(FEATURES))))
        found = self._booster.predict(features, pred_contrib=True, num_threads=1)
        return Contributions(float(found[0, -1]), found[:, : len(FEATURES)])


def _lightgbm() -> Any:
    """Import LightGBM, without the libraries that it looks for to wrap them, unless they are there already.

    In an environment that has them a server would start six seconds later for what it never uses.
    """
    left_out = [name for name in _WRAPPED if name not in sys.modules]
    # So Python notes what cannot be imported; LightGBM takes it for what is not installed.
    sys.modules.update(dict.fromkeys(left_out))  # type: ignore[arg-type]
    try:
        return importlib.import_module("lightgbm")
    finally:
        for name in left_out:
            del sys.modules[name]
