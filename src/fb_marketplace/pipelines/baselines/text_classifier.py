"""Text classifier: logistic regression plus weighted naive Bayes, with temperature scaling.

Both models are linear in the features and make different errors. Their logits are added (a product of
experts; Hinton, 1999), so the saved model is one matrix. Complement naive Bayes: Rennie et al., 2003.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.ml.probabilities import fit_temperature, log_loss, softmax
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.text_features import fit_text, text_features, text_table
from fb_marketplace.pipelines.baselines.training_frame import split_rows
from fb_marketplace.skipping import InsufficientDataError

EPSILON: Final = 1e-6
"""Lower bound of a category's probability: in late fusion, which multiplies, 0 would exclude it."""

Probabilities = NDArray[np.float32]


class TextClassifier(NamedTuple):
    """A fitted classifier; skops can store each part.

    Attributes:
        features: fitted text features.
        weight: float32, (features, known categories).
        bias: float32, (known categories,).
        known: int64, (known categories,), index in ``labels`` of each category of the training listings.
        labels: all root categories, sorted.
        temperature: divisor of the logits.
    """

    features: Any
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    known: NDArray[np.int64]
    labels: tuple[str, ...]
    temperature: float


class Settings(NamedTuple):
    """Settings selected on validation: C of the logistic regression, and the weight of naive Bayes."""

    strength: float
    naive_bayes_weight: float


def select_text_classifier(
    listed: pd.DataFrame, labels: tuple[str, ...], parameters: BaselineParameters
) -> tuple[TextClassifier, Settings]:
    """Fit on the training split; select settings and temperature by log loss on validation.

    Args:
        listed: listings with group and split; the test split is not used.
        labels: all root categories, sorted.
        parameters: features, and candidate settings.
    """
    train, validation = (
        listed.iloc[split_rows(listed, split)] for split in ("train", "validation")
    )
    train = train.iloc[
        sample_rows(train["product_id"].to_list(), parameters.max_listings, parameters.seed)
    ]
    features = _features(parameters, len(train))
    train_inputs = fit_text(features, text_table(train))
    validation_inputs = features.transform(text_table(validation))
    classes, truth = class_indices(train, labels), class_indices(validation, labels)
    bayes = _naive_bayes(train_inputs, classes, parameters)
    candidates: list[tuple[float, TextClassifier, Settings]] = []
    for strength in parameters.category.text_C_grid:
        logistic = fit_logistic_regression(train_inputs, classes, strength)
        for share in parameters.category.naive_bayes_weights:
            model = _blend(features, logistic, bayes, share, labels)
            loss, calibrated = _calibrate(model, validation_inputs, truth)
            candidates.append((loss, calibrated, Settings(strength, share)))
    _, model, settings = min(candidates, key=lambda candidate: candidate[0])
    return model, settings


def predict_text(model: TextClassifier, products: pd.DataFrame) -> Probabilities:
    """Predict the probability of each label: float32, (listings, labels)."""
    return _to_probabilities(model, _logits(model, model.features.transform(text_table(products))))


def class_indices(products: pd.DataFrame, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the index of each listing's category in the labels: int64, (listings,)."""
    return np.asarray([labels.index(category) for category in products["category"]], dtype=np.int64)


class LinearModel(NamedTuple):
    """Linear classifier: weight (features, classes), bias (classes,) and the class indices (classes,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    known: NDArray[np.int64]


def fit_logistic_regression(
    inputs: Any, classes: NDArray[np.int64], strength: float
) -> LinearModel:
    """Fit multinomial logistic regression with an L2 penalty.

    Args:
        inputs: (cases, features), dense or sparse.
        classes: int64, (cases,), class indices.
        strength: C, the inverse regularization strength.

    Raises:
        InsufficientDataError: all cases belong to one class.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(classes)) < 2:
        raise InsufficientDataError(
            "The category model needs training listings of at least two root categories, but all "
            "belong to one"
        )
    fitted = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(inputs, classes)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn stores one row for two classes
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return LinearModel(
        weight.T.astype(np.float32), bias.astype(np.float32), fitted.classes_.astype(np.int64)
    )


def _features(parameters: BaselineParameters, listings: int) -> Any:
    return text_features(parameters.text, listings, parameters.category.location_weight)


def _naive_bayes(
    inputs: Any, classes: NDArray[np.int64], parameters: BaselineParameters
) -> NDArray[np.float32]:
    from sklearn.naive_bayes import ComplementNB

    fitted = ComplementNB(alpha=parameters.category.naive_bayes_smoothing).fit(inputs, classes)
    weight = fitted.feature_log_prob_.T
    centered: NDArray[np.float32] = (weight - weight.mean(axis=1, keepdims=True)).astype(np.float32)
    return centered


def _blend(
    features: Any, logistic: LinearModel, bayes: Any, share: float, labels: tuple[str, ...]
) -> TextClassifier:
    weight = logistic.weight + np.float32(share) * bayes
    return TextClassifier(features, weight, logistic.bias, logistic.known, labels, 1.0)


def _calibrate(
    model: TextClassifier, inputs: Any, truth: NDArray[np.int64]
) -> tuple[float, TextClassifier]:
    logits = np.full((len(truth), len(model.labels)), -np.inf)
    logits[:, model.known] = _logits(model, inputs)
    calibrated = model._replace(temperature=fit_temperature(logits, truth, EPSILON))
    return log_loss(_to_probabilities(calibrated, logits[:, model.known]), truth), calibrated


def _logits(model: TextClassifier, inputs: Any) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = np.asarray(inputs @ model.weight + model.bias, dtype=np.float64)
    return logits


def _to_probabilities(model: TextClassifier, logits: NDArray[np.float64]) -> Probabilities:
    """Convert logits of known classes to probabilities of all labels, each at least :data:`EPSILON`."""
    matrix = np.zeros((len(logits), len(model.labels)))
    matrix[:, model.known] = softmax(logits / model.temperature)
    floored = np.maximum(matrix, EPSILON)
    probabilities: Probabilities = (floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
