import numpy as np
import pytest

from fb_marketplace.pipelines.baselines.calibration import log_loss, softmax, temperature


def test_probabilities_are_positive_and_add_up_to_one():
    found = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]]))

    assert found.sum(axis=1) == pytest.approx(1)
    assert found[1] == pytest.approx([0.5, 0.5])


def test_the_loss_is_of_what_was_said_of_the_true_class():
    assert log_loss(np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1])) == pytest.approx(
        (np.log(2) - np.log(0.9)) / 2
    )


@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_the_temperature_undoes_what_logits_were_multiplied_by(factor):
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    truth = np.array([random.choice(3, p=row) for row in softmax(logits)])

    assert temperature(logits * factor, truth, 1e-6) == pytest.approx(factor, rel=0.1)


def test_a_class_that_is_not_known_leaves_a_finite_temperature():
    logits = np.array([[2.0, 0.0, -np.inf], [0.0, 2.0, -np.inf]])

    assert 0 < temperature(logits, np.array([0, 2]), 1e-6) < 21
