"""Text classifier: logistic regression, weighted naive Bayes and a kernel of sentence embeddings.

The models make different errors, so their logits are added (a product of experts; Hinton, 1999), with
temperature scaling. The first two are linear in the words, so together they are one matrix. Complement
naive Bayes: Rennie et al., 2003.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.ml.probabilities import fit_temperature, log_loss, softmax
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.pipelines.baselines.kernel_regression import (
    KernelInputs,
    compute_kernel,
    solve_ridge,
)
from fb_marketplace.pipelines.baselines.listing_vectors import center, subtract_and_normalize
from fb_marketplace.pipelines.baselines.text_features import fit_text, text_features, text_table
from fb_marketplace.pipelines.baselines.training_frame import split_rows
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.vectors import VectorTable

EPSILON: Final = 1e-6
"""Lower bound of a category's probability: in late fusion, which multiplies, 0 would exclude it."""

LISTINGS_PER_BATCH: Final = 1000
"""Listings whose kernel with all training listings is computed at a time. It bounds the memory."""

Probabilities = NDArray[np.float32]


class SentenceModel(NamedTuple):
    """Kernel ridge regression of class membership on sentence embeddings; skops can store each part.

    Attributes:
        mean: float32, (dimension,), the mean embedding.
        cases: float32, (cases, dimension), embeddings of training listings less the mean, of unit length.
        weights: float64, (cases, known categories), dual coefficients.
    """

    mean: NDArray[np.float32]
    cases: NDArray[np.float32]
    weights: NDArray[np.float64]


class TextClassifier(NamedTuple):
    """A fitted classifier; skops can store each part.

    Attributes:
        features: fitted text features.
        weight: float32, (features, known categories).
        bias: float32, (known categories,).
        known: int64, (known categories,), index in ``labels`` of each category of the training listings.
        labels: all root categories, sorted.
        sentences: the model of sentence embeddings.
        sentence_weight: weight of its scores in the logits.
        temperature: divisor of the logits.
    """

    features: Any
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    known: NDArray[np.int64]
    labels: tuple[str, ...]
    sentences: SentenceModel
    sentence_weight: float = 0.0
    temperature: float = 1.0


class Settings(NamedTuple):
    """Settings selected on validation: C of the logistic regression, and weights of the other models."""

    strength: float
    naive_bayes_weight: float
    sentence_weight: float


def select_text_classifier(
    listed: pd.DataFrame,
    labels: tuple[str, ...],
    vectors: VectorTable,
    parameters: BaselineParameters,
) -> tuple[TextClassifier, Settings]:
    """Fit on the training split; select settings and temperature by log loss on validation.

    Args:
        listed: listings with group and split; the test split is not used.
        labels: all root categories, sorted.
        vectors: sentence embeddings of the listings.
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
    sentences = _fit_sentences(train["product_id"].to_list(), classes, vectors, parameters)
    scores = _sentence_scores(sentences, vectors.select(validation["product_id"].to_list()))
    candidates: list[tuple[float, TextClassifier, Settings]] = []
    for strength in parameters.category.text_C_grid:
        logistic = fit_logistic_regression(train_inputs, classes, strength)
        for share in parameters.category.naive_bayes_weights:
            weight = logistic.weight + np.float32(share) * bayes
            words = _word_logits(validation_inputs, weight, logistic.bias)
            for sentence_weight in parameters.category.sentence_weights:
                model = TextClassifier(
                    *(features, weight, logistic.bias, logistic.known),
                    *(labels, sentences, sentence_weight),
                )
                loss, calibrated = _calibrate(model, words + sentence_weight * scores, truth)
                candidates.append((loss, calibrated, Settings(strength, share, sentence_weight)))
    _, model, settings = min(candidates, key=lambda candidate: candidate[0])
    return model, settings


def predict_text(
    model: TextClassifier, products: pd.DataFrame, vectors: VectorTable
) -> Probabilities:
    """Predict the probability of each label: float32, (listings, labels)."""
    inputs = model.features.transform(text_table(products))
    scores = _sentence_scores(model.sentences, vectors.select(products["product_id"].to_list()))
    words = _word_logits(inputs, model.weight, model.bias)
    return _to_probabilities(model, words + model.sentence_weight * scores)


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


def _fit_sentences(
    product_ids: list[str],
    classes: NDArray[np.int64],
    vectors: VectorTable,
    parameters: BaselineParameters,
) -> SentenceModel:
    """Fit kernel ridge regression; its time is cubic in the number of listings, so there is a maximum."""
    config = parameters.category
    rows = sample_rows(product_ids, config.max_sentence_listings, parameters.seed)
    embeddings = vectors.select([product_ids[row] for row in rows])
    mean = center(embeddings)
    cases = subtract_and_normalize(embeddings, mean)
    # All classes are columns, since a sample may lack some.
    targets = (classes[rows, np.newaxis] == np.unique(classes)).astype(np.float64)
    weights = solve_ridge(_dense(cases), targets - targets.mean(axis=0), config.sentence_penalty)
    return SentenceModel(mean, cases, weights)


def _sentence_scores(model: SentenceModel, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the scores of the known categories: float64, (listings, known categories)."""
    scores = np.empty((len(embeddings), model.weights.shape[1]))
    inputs, cases = subtract_and_normalize(embeddings, model.mean), _dense(model.cases)
    for start in range(0, len(inputs), LISTINGS_PER_BATCH):
        rows = slice(start, start + LISTINGS_PER_BATCH)
        scores[rows] = compute_kernel(_dense(inputs[rows]), cases) @ model.weights
    return scores


def _dense(vectors: NDArray[np.float32]) -> KernelInputs:
    from scipy.sparse import csr_array

    return KernelInputs(csr_array((len(vectors), 1), dtype=np.float32), vectors)


def _calibrate(
    model: TextClassifier, logits: NDArray[np.float64], truth: NDArray[np.int64]
) -> tuple[float, TextClassifier]:
    """Return the log loss and the model with the best temperature, for logits of known categories."""
    wide = np.full((len(truth), len(model.labels)), -np.inf)
    wide[:, model.known] = logits
    calibrated = model._replace(temperature=fit_temperature(wide, truth, EPSILON))
    return log_loss(_to_probabilities(calibrated, logits), truth), calibrated


def _word_logits(
    inputs: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = np.asarray(inputs @ weight + bias, dtype=np.float64)
    return logits


def _to_probabilities(model: TextClassifier, logits: NDArray[np.float64]) -> Probabilities:
    """Convert logits of known classes to probabilities of all labels, each at least :data:`EPSILON`."""
    matrix = np.zeros((len(logits), len(model.labels)))
    matrix[:, model.known] = softmax(logits / model.temperature)
    floored = np.maximum(matrix, EPSILON)
    probabilities: Probabilities = (floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
