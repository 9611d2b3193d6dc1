import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from fb_marketplace.pipelines.baselines.kernel_regression import (
    ROWS_PER_BATCH,
    KernelInputs,
    compute_kernel,
    fit_kernel_regression,
    leave_group_out_errors,
    predict_kernel_regression,
)

PENALTY = 0.1


@pytest.fixture(scope="module")
def inputs():
    """Sixty cases of unit length, half of each is sparse."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return KernelInputs(csr_matrix(vectors[:, :4]), vectors[:, 4:])


@pytest.fixture(scope="module")
def targets(inputs):
    """A product of features, which no linear model fits."""
    return 5.0 * inputs.dense[:, 0] * inputs.dense[:, 1] + 3.0


def _select(inputs, rows):
    return KernelInputs(inputs.sparse[rows], inputs.dense[rows])


def test_kernel_of_equal_cases_is_one(inputs):
    kernel = compute_kernel(inputs, inputs)

    assert np.diag(kernel) == pytest.approx(np.ones(60), abs=1e-5)
    assert kernel.max() <= 1 + 1e-5


def test_regression_learns_products_of_features(inputs, targets):
    model = fit_kernel_regression(
        _select(inputs, slice(0, 50)), targets[:50], np.arange(50), 0.01, 1.0
    )

    predicted = predict_kernel_regression(model, _select(inputs, slice(50, 60))).center

    assert np.abs(predicted - targets[50:]).mean() < 0.5 * np.abs(targets[50:] - 3).mean()


def test_prediction_never_holds_the_full_kernel_matrix(inputs, targets):
    model = fit_kernel_regression(inputs, targets, np.arange(60), PENALTY, 0.1)
    repeats = np.arange(20 * ROWS_PER_BATCH) % 60
    many = _select(inputs, repeats)

    tracemalloc.start()
    predicted = predict_kernel_regression(model, many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < len(repeats) * 60 * 8 / 2
    for values, few in zip(predicted, predict_kernel_regression(model, inputs), strict=True):
        assert values == pytest.approx(few[repeats])


def test_fit_holds_two_kernel_matrices(inputs, targets):
    """Also checks that the weights solve the penalized system, where the matrix has several batches."""
    repeats = np.arange(2 * ROWS_PER_BATCH + 10) % 60
    many, size = _select(inputs, repeats), 8 * len(repeats) ** 2

    tracemalloc.start()
    model = fit_kernel_regression(many, targets[repeats], np.arange(len(repeats)), PENALTY, 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2.7 * size  # besides, batches of rows
    kernel = compute_kernel(many, many)
    fitted = kernel @ model.weights + PENALTY * model.weights + model.mean
    np.testing.assert_allclose(fitted, targets[repeats], atol=1e-6)
    errors = kernel @ model.error_weights + 0.1 * model.error_weights + model.mean_error
    expected = leave_group_out_errors(
        np.linalg.inv(kernel + PENALTY * np.eye(len(kernel))), model.weights, np.arange(len(kernel))
    )
    np.testing.assert_allclose(errors, np.abs(expected), atol=1e-6)


def test_errors_are_those_of_models_without_the_group(inputs, targets):
    groups = np.array(["pair", "pair", *map(str, range(58))])
    kernel = compute_kernel(inputs, inputs)
    inverse = np.linalg.inv(kernel + PENALTY * np.eye(60))

    errors = leave_group_out_errors(inverse, inverse @ targets, groups)

    for group in ("pair", "7"):
        left, rest = groups == group, groups != group
        matrix = kernel[np.ix_(rest, rest)] + PENALTY * np.eye(rest.sum())
        predicted = kernel[np.ix_(left, rest)] @ np.linalg.solve(matrix, targets[rest])
        assert errors[left] == pytest.approx(targets[left] - predicted)


def test_spread_is_larger_for_cases_with_larger_errors(inputs):
    noisy = inputs.dense[:, 0] > 0
    targets = np.where(noisy, np.random.default_rng(1).normal(size=60), 0.0)

    model = fit_kernel_regression(inputs, targets, np.arange(60), PENALTY, 0.1)
    spread = predict_kernel_regression(model, inputs).spread

    assert spread[noisy].mean() > 1.2 * spread[~noisy].mean()
    assert spread.min() >= model.mean_error
