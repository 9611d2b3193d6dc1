"""Categories from text by a linear model: logistic regression, a little naive Bayes, one temperature.

The two err in different ways, and both are linear in the features: their logits are added (a product of
experts; Hinton, 1999), so what is saved is one matrix. Complement naive Bayes: Rennie et al., 2003.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.ml.probabilities import fit_temperature, log_loss, softmax
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.text_features import fit_text, text_features, text_table
from fb_marketplace.pipelines.baselines.training_frame import group_folds, split_rows

EPSILON: Final = 1e-6
"""Probability that no category falls below, seen in training or not: others multiply by it."""

Probabilities = NDArray[np.float32]


class TextClassifier(NamedTuple):
    """A fitted classifier; skops can write each part.

    Attributes:
        features: of the text, fitted.
        weight: float32, (features, categories known).
        bias: float32, (categories known,).
        known: place in ``labels`` of each category that the training listings have.
        labels: all root categories, sorted.
        temperature: that logits are divided by.
    """

    features: Any
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    known: NDArray[np.int64]
    labels: tuple[str, ...]
    temperature: float


class Settings(NamedTuple):
    """What validation chose: C of the logistic regression, and how much naive Bayes is added."""

    strength: float
    naive_bayes_weight: float


def select_text_classifier(
    listed: pd.DataFrame, labels: tuple[str, ...], parameters: BaselineParameters
) -> tuple[TextClassifier, Settings]:
    """Fit on the training split; settings and temperature are those of the least loss on validation.

    Args:
        listed: listings with group and split; ``test`` is not looked at.
        labels: all root categories, sorted.
        parameters: features, and settings to choose from.
    """
    train, held = (listed.iloc[split_rows(listed, split)] for split in ("train", "validation"))
    features = _features(parameters, len(train))
    seen = fit_text(features, text_table(train))
    asked = features.transform(text_table(held))
    classes, truth = class_indices(train, labels), class_indices(held, labels)
    bayes = _naive_bayes(seen, classes, parameters)
    found: list[tuple[float, TextClassifier, Settings]] = []
    for strength in parameters.category.text_strengths:
        logistic = fit_logistic_regression(seen, classes, strength)
        for share in parameters.category.naive_bayes_weights:
            model = _blend(features, logistic, bayes, share, labels)
            found.append((*_tempered(model, asked, truth), Settings(strength, share)))
    _, model, settings = min(found, key=lambda each: each[0])
    return model, settings


def predict_text(model: TextClassifier, products: pd.DataFrame) -> Probabilities:
    """Give the probability of each label: float32, (listings, labels)."""
    return _spread(model, _logits(model, model.features.transform(text_table(products))))


def predict_text_out_of_fold(
    train: pd.DataFrame, model: TextClassifier, settings: Settings, parameters: BaselineParameters
) -> Probabilities:
    """Give probabilities for training listings by models that learnt nothing from their group.

    Args:
        train: the training listings, with their groups.
        model: the one that is fitted on all of them; its temperature is used.
        settings: that validation chose.
        parameters: features, folds and seed.
    """
    answers = np.empty((len(train), len(model.labels)), dtype=np.float32)
    for learnt, asked in group_folds(train["group"], parameters.folds, parameters.seed):
        part = train.iloc[learnt]
        features = _features(parameters, len(part))
        seen, classes = fit_text(features, text_table(part)), class_indices(part, model.labels)
        logistic = fit_logistic_regression(seen, classes, settings.strength)
        bayes = _naive_bayes(seen, classes, parameters)
        fitted = _blend(features, logistic, bayes, settings.naive_bayes_weight, model.labels)
        answers[asked] = predict_text(
            fitted._replace(temperature=model.temperature), train.iloc[asked]
        )
    return answers


def class_indices(products: pd.DataFrame, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Give the place of each listing's category in the labels."""
    return np.asarray([labels.index(each) for each in products["category"]], dtype=np.int64)


class LinearModel(NamedTuple):
    """Logits as a linear function of features: (features, classes), (classes,), and which classes."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    known: NDArray[np.int64]


def fit_logistic_regression(
    inputs: Any, classes: NDArray[np.int64], strength: float
) -> LinearModel:
    """Fit multinomial logistic regression with an L2 penalty.

    Args:
        inputs: (cases, features), dense or sparse.
        classes: (cases,).
        strength: C, the inverse of the penalty.

    Raises:
        UserError: all cases are of one class.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(classes)) < 2:
        raise UserError(
            "a category model needs training listings of two root categories; found one. "
            "Give more listings"
        )
    fitted = LogisticRegression(C=strength, max_iter=200, tol=1e-3).fit(inputs, classes)
    weight, bias = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn keeps one row then
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.array([-bias[0] / 2, bias[0] / 2])
    return LinearModel(
        weight.T.astype(np.float32), bias.astype(np.float32), fitted.classes_.astype(np.int64)
    )


def _features(parameters: BaselineParameters, listings: int) -> Any:
    return text_features(parameters.text, listings, parameters.category.place_weight)


def _naive_bayes(
    inputs: Any, classes: NDArray[np.int64], parameters: BaselineParameters
) -> NDArray[np.float32]:
    from sklearn.naive_bayes import ComplementNB

    fitted = ComplementNB(alpha=parameters.category.naive_bayes_smoothing).fit(inputs, classes)
    weight = fitted.feature_log_prob_.T
    centred: NDArray[np.float32] = (weight - weight.mean(axis=1, keepdims=True)).astype(np.float32)
    return centred


def _blend(
    features: Any, logistic: LinearModel, bayes: Any, share: float, labels: tuple[str, ...]
) -> TextClassifier:
    weight = logistic.weight + np.float32(share) * bayes
    return TextClassifier(features, weight, logistic.bias, logistic.known, labels, 1.0)


def _tempered(
    model: TextClassifier, inputs: Any, truth: NDArray[np.int64]
) -> tuple[float, TextClassifier]:
    logits = np.full((len(truth), len(model.labels)), -np.inf)
    logits[:, model.known] = _logits(model, inputs)
    tempered = model._replace(temperature=fit_temperature(logits, truth, EPSILON))
    return log_loss(_spread(tempered, logits[:, model.known]), truth), tempered


def _logits(model: TextClassifier, inputs: Any) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = np.asarray(inputs @ model.weight + model.bias, dtype=np.float64)
    return logits


def _spread(model: TextClassifier, logits: NDArray[np.float64]) -> Probabilities:
    """Turn logits of known classes into probabilities of all labels, none of them zero."""
    found = np.zeros((len(logits), len(model.labels)))
    found[:, model.known] = softmax(logits / model.temperature)
    floored = np.maximum(found, EPSILON)
    spread: Probabilities = (floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    return spread
