import numpy as np
import pytest

from fb_marketplace.evaluation.conformal import conformal_half_width


def test_interval_has_nominal_coverage():
    random = np.random.default_rng(0)
    existing = []
    for _ in range(300):
        seen, new = random.standard_t(3, (2, 99))
        existing.append((np.abs(new) <= conformal_half_width(seen, 0.8)).mean())

    assert np.mean(existing) == pytest.approx(0.8, abs=0.01)


def test_quantile_has_finite_sample_correction():
    errors = np.arange(1.0, 10.0)

    assert conformal_half_width(errors, 0.8) == 8
    assert conformal_half_width(errors, 0.9) == 9


def test_too_few_cases_give_the_largest_error():
    assert conformal_half_width(np.array([1.0, -3.0]), 0.95) == 3
