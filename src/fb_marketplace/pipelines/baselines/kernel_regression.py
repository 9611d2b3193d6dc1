"""Kernel ridge regression with a degree-2 polynomial kernel, and the spread of its errors.

The kernel compares a listing with each training listing, so similar listings count like comparables, and
products of features count as well as single ones.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OFFSET: Final = 0.25
"""Weight of single features relative to products of two."""

ROWS_PER_BATCH: Final = 1000
"""Rows of the kernel matrix that are computed at a time. It bounds the memory of sparse products, and of
the kernel of a prediction."""

MIN_ERROR: Final = 1e-6
"""Lower limit of the mean error. Equal targets have no errors, but errors are divided by the spread."""


class KernelInputs(NamedTuple):
    """Features whose dot products are similarities, about 1 for equal cases.

    Attributes:
        sparse: CSR matrix, float32, (cases, features).
        dense: float32, (cases, features).
    """

    sparse: Any
    dense: NDArray[np.float32]


class KernelRegression(NamedTuple):
    """A fitted regression; skops can store each part.

    Attributes:
        cases: inputs of the training cases.
        mean: mean target.
        weights: float64, (cases,), dual coefficients of the targets.
        mean_error: mean absolute leave-group-out error, at least ``MIN_ERROR``.
        error_weights: float64, (cases,), dual coefficients of the absolute errors.
    """

    cases: KernelInputs
    mean: float
    weights: Floats
    mean_error: float
    error_weights: Floats


class Prediction(NamedTuple):
    """Predicted targets and spreads, each float64, (cases,).

    Attributes:
        center: the target.
        spread: the expected absolute error, at least the mean error of training. Smaller estimates are too
            noisy to promise more.
    """

    center: Floats
    spread: Floats


def fit_kernel_regression(
    inputs: KernelInputs,
    targets: Floats,
    groups: NDArray[Any],
    penalty: float,
    error_penalty: float,
) -> KernelRegression:
    """Fit the regression to the targets, and another to the absolute errors of left-out groups.

    It takes time cubic, and memory quadratic, in the number of cases.

    Args:
        inputs: the training cases.
        targets: float64, (cases,).
        groups: (cases,), the group of each case. Errors of a case are of a model without its group.
        penalty: added to the diagonal of the kernel matrix, in which 1 means equal cases.
        error_penalty: the same for the errors.
    """
    from scipy.linalg import cho_factor, cho_solve

    kernel = compute_kernel(inputs, inputs)
    mean = float(targets.mean())
    inverse = _invert(_add_to_diagonal(kernel.copy(), penalty))
    weights = inverse @ (targets - mean)
    errors = np.abs(leave_group_out_errors(inverse, weights, groups))
    del inverse
    factor = cho_factor(_add_to_diagonal(kernel, error_penalty).T, lower=True, overwrite_a=True)
    mean_error = max(float(errors.mean()), MIN_ERROR)
    return KernelRegression(
        inputs, mean, weights, mean_error, cho_solve(factor, errors - mean_error)
    )


def solve_ridge(inputs: KernelInputs, targets: Floats, penalty: float) -> Floats:
    """Return the dual coefficients of several targets: float64, (cases, targets).

    Args:
        inputs: the training cases.
        targets: float64, (cases, targets), centered.
        penalty: as in :func:`fit_kernel_regression`.
    """
    from scipy.linalg import cho_factor, cho_solve

    kernel = _add_to_diagonal(compute_kernel(inputs, inputs), penalty)
    # A symmetric matrix is its own transpose; LAPACK overwrites only those in Fortran's order.
    factor = cho_factor(kernel.T, lower=True, overwrite_a=True)
    weights: Floats = cho_solve(factor, targets)
    return weights


def predict_kernel_regression(model: KernelRegression, inputs: KernelInputs) -> Prediction:
    """Predict targets and spreads."""
    center, spread = np.empty(len(inputs.dense)), np.empty(len(inputs.dense))
    for start in range(0, len(center), ROWS_PER_BATCH):
        rows = slice(start, start + ROWS_PER_BATCH)
        kernel = compute_kernel(KernelInputs(inputs.sparse[rows], inputs.dense[rows]), model.cases)
        center[rows] = kernel @ model.weights + model.mean
        spread[rows] = model.mean_error + np.maximum(kernel @ model.error_weights, 0)
    return Prediction(center, spread)


def compute_kernel(left: KernelInputs, right: KernelInputs) -> Floats:
    """Compute the kernel matrix: float64, (left cases, right cases)."""
    kernel = np.empty((len(left.dense), len(right.dense)))
    transposed = right.sparse.T.tocsr()
    for start in range(0, len(kernel), ROWS_PER_BATCH):
        rows = slice(start, start + ROWS_PER_BATCH)
        similarity = (left.sparse[rows] @ transposed).toarray()
        similarity += left.dense[rows] @ right.dense.T
        kernel[rows] = np.square((similarity + OFFSET) / (1 + OFFSET))
    return kernel


def leave_group_out_errors(inverse: Floats, weights: Floats, groups: NDArray[Any]) -> Floats:
    """Compute target minus prediction of each training case by a model without its group.

    The closed form of kernel ridge regression: no model is fitted again. Only the weights are without the
    group. If the mean was subtracted from the targets, it is still that of all cases, with the group.

    Args:
        inverse: float64, (cases, cases), inverse of the penalized kernel matrix.
        weights: float64, (cases,), dual coefficients.
        groups: (cases,), the group of each case.
    """
    errors: Floats = weights / np.diag(inverse)
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    for code in np.flatnonzero(counts > 1):
        rows = np.flatnonzero(codes == code)
        errors[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], weights[rows])
    return errors


def _add_to_diagonal(matrix: Floats, penalty: float) -> Floats:
    matrix.flat[:: len(matrix) + 1] += penalty
    return matrix


def _invert(matrix: Floats) -> Floats:
    """Invert a symmetric positive definite matrix in place, in a third of the time of a general one."""
    from scipy.linalg import lapack

    # LAPACK copies other matrices than those in Fortran's order; a symmetric one is its own transpose.
    factor, _ = lapack.dpotrf(matrix.T, lower=1, overwrite_a=True)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=True)
    for start in range(0, len(inverse), ROWS_PER_BATCH):
        end = start + ROWS_PER_BATCH
        inverse[start:end, end:] = inverse[end:, start:end].T
        corner = inverse[start:end, start:end]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
    return np.asarray(inverse)
