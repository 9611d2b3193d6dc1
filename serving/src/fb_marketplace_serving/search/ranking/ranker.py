"""Ranker: gradient-boosted trees, trained on searches with graded relevance (LambdaMART; Burges, 2010).

The model is in LightGBM's text format. TreeSHAP (Lundberg et al., 2020) explains a score as the sum of a
base value and a contribution of each feature.
"""

import ctypes
import importlib
import sys
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.ranking.ranking_features import FEATURES

BEGINNING: Final = b"tree\n"
END: Final = b"\nend of trees\n"

_IS_ROW_MAJOR: Final = 1
_ALL_ITERATIONS: Final = -1

_OPTIONAL_IMPORTS: Final = ("pandas", "sklearn")


class RankerError(ValueError):
    """A model that is not a ranker on ``FEATURES``."""


class Contributions(NamedTuple):
    """Contributions of features to scores.

    Attributes:
        base: base value of TreeSHAP, the same for all candidates.
        parts: float64, (candidates, features); the sum of a row and the base is the score.
    """

    base: float
    parts: NDArray[np.float64]


class Ranker:
    """A loaded ranker. Thread-safe."""

    def __init__(self, booster: Any) -> None:
        """Wrap a ``lightgbm.Booster`` on ``FEATURES``; see :meth:`from_bytes`."""
        self._booster = booster

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Load a model in LightGBM's text format; see :func:`load_booster` for the errors."""
        return cls(load_booster(data, FEATURES))

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score candidates.

        Args:
            features: float64, (candidates, features), from :func:`compute_features`.

        Returns:
            float64, (candidates,), higher is better.
        """
        return predict(self._booster, features)

    def contributions(self, features: NDArray[np.float64]) -> Contributions:
        """Compute the contributions of features to scores.

        Args:
            features: float64, (candidates, features), from :func:`compute_features`.

        Returns:
            Base and contributions. Without candidates, the base is 0.
        """
        if not len(features):
            return Contributions(0.0, np.empty((0, len(FEATURES))))
        parts = self._booster.predict(features, pred_contrib=True, num_threads=1)
        return Contributions(float(parts[0, -1]), parts[:, : len(FEATURES)])


def load_booster(data: bytes, features: tuple[str, ...]) -> Any:
    """Load trees in LightGBM's text format, as a ``lightgbm.Booster``.

    LightGBM does not validate its input: verify the checksum first.

    Args:
        data: the model.
        features: the expected names of its features.

    Raises:
        RankerError: it is not a LightGBM model, or it has other features or several outputs.
    """
    lightgbm = _import_lightgbm()
    # With a truncated model, LightGBM reads memory out of bounds or ends the process.
    if not data.startswith(BEGINNING) or END not in data:
        raise RankerError(
            f"found {len(data):,} bytes that are not a complete model in LightGBM's text format"
        )
    try:
        booster = lightgbm.Booster(model_str=data.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise RankerError(
            f"found {len(data):,} bytes that LightGBM cannot read ({error}); expected its text format"
        ) from error
    names = tuple(booster.feature_name())
    if names != features:
        raise RankerError(
            f"found a model with the features {', '.join(names)}; expected {', '.join(features)}. Rerun "
            "`kedro run --pipeline=ranking`."
        )
    # With several outputs, LightGBM would write beyond the buffer of predict().
    if (outputs := booster.num_model_per_iteration()) != 1:
        raise RankerError(
            f"found a model with {outputs:,} outputs per row; expected one. Train it with an objective of "
            "one output, as `kedro run --pipeline=ranking` does."
        )
    return booster


def predict(booster: Any, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Predict rows on one thread.

    Calls LightGBM's C API. For a few rows, ``Booster.predict`` itself takes half of the time. It is called
    if a version of LightGBM lacks the private names.

    Args:
        booster: a ``lightgbm.Booster`` with one output, from :func:`load_booster`.
        rows: float64, (rows, features).

    Returns:
        float64, (rows,).

    Raises:
        RankerError: LightGBM rejects the rows, as those of another width.
    """
    if not len(rows):
        return np.empty(0)
    basic = sys.modules["lightgbm.basic"]
    rows = np.ascontiguousarray(rows, np.float64)
    height, width = rows.shape
    try:
        # Private names of LightGBM 4.7.0; another version may lack them.
        handle, library = booster._handle, basic._LIB
        number_type, prediction_type = basic._C_API_DTYPE_FLOAT64, basic._C_API_PREDICT_NORMAL
    except AttributeError:
        return np.asarray(booster.predict(rows, num_threads=1), np.float64)
    predictions, count = np.empty(height), ctypes.c_int64()
    status = library.LGBM_BoosterPredictForMat(
        handle,
        ctypes.c_void_p(rows.ctypes.data),
        number_type,
        height,
        width,
        _IS_ROW_MAJOR,
        prediction_type,
        0,
        _ALL_ITERATIONS,
        b"num_threads=1",
        ctypes.byref(count),
        ctypes.c_void_p(predictions.ctypes.data),
    )
    if status:
        reason = library.LGBM_GetLastError().decode(errors="replace").partition("\n")[0]
        raise RankerError(
            f"found {height:,} rows of {width:,} features that LightGBM rejects ({reason}); expected the "
            f"{booster.num_feature():,} features of the model. Rerun `kedro run --pipeline=ranking`."
        )
    if count.value != height:
        raise RankerError(
            f"found {count.value:,} predictions of LightGBM for {height:,} rows; expected one for each "
            "row. Install the version of LightGBM in serving/requirements.lock."
        )
    return predictions


def _import_lightgbm() -> Any:
    """Import LightGBM without its optional dependencies, unless they are loaded already.

    Ranking does not use them. If they are installed, their import delays the start of a server by six
    seconds.
    """
    hidden = [name for name in _OPTIONAL_IMPORTS if name not in sys.modules]
    # None in sys.modules makes an import fail. LightGBM then treats the library as not installed.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        return importlib.import_module("lightgbm")
    finally:
        for name in hidden:
            del sys.modules[name]
