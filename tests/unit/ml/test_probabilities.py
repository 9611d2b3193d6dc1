import numpy as np
import pytest

from fb_marketplace.ml.probabilities import fit_temperature, log_loss, log_losses, softmax


@pytest.fixture
def random():
    return np.random.default_rng(0)


def logits_of_known_temperature(random, temperature, cases=6000):
    logits = random.normal(0, 2, (cases, 5))
    drawn = softmax(logits).cumsum(axis=1) > random.random((cases, 1))
    return (logits * temperature).astype(np.float32), drawn.argmax(axis=1)


def test_probabilities_are_positive_and_sum_to_one():
    result = softmax(np.array([[1000.0, 0.0], [0.0, 0.0]]))

    assert result.sum(axis=1) == pytest.approx(1)
    assert result[1] == pytest.approx([0.5, 0.5])


def test_log_loss_uses_probability_of_true_class():
    predicted, classes = np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([0, 1])

    assert log_losses(predicted, classes) == pytest.approx([np.log(2), -np.log(0.9)])
    assert log_loss(predicted, classes) == pytest.approx((np.log(2) - np.log(0.9)) / 2)


def test_log_loss_is_bounded():
    impossible = np.float32([[1, 0]]), np.array([1])

    assert log_loss(*impossible) == pytest.approx(30 * np.log(10))
    assert log_loss(*impossible, minimum=1e-6) == pytest.approx(6 * np.log(10))


@pytest.mark.parametrize("least", [1e-30, 1e-6])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_of_sharpened_logits_is_recovered(random, temperature, least):
    logits, classes = logits_of_known_temperature(random, temperature)

    assert fit_temperature(logits, classes, least) == pytest.approx(temperature, rel=0.05)


def test_fitted_temperature_minimizes_loss(random):
    logits, classes = logits_of_known_temperature(random, 2.0, cases=9)
    result = fit_temperature(logits, classes)

    best = log_loss(softmax(logits / result), classes)
    assert all(best <= log_loss(softmax(logits / other), classes) for other in (0.9, 1.1, 3, 9))


@pytest.mark.parametrize(
    ("logits", "classes"),
    [
        (np.zeros((0, 3)), []),
        ([[4.0, 1.0], [0.0, 9.0]], [0, 1]),  # all right: the colder the better
        ([[4.0, 1.0], [0.0, 9.0]], [1, 0]),  # all wrong: the hotter the better
        ([[2.0, 2.0]], [1]),
        ([[2.0, 0.0, -np.inf]], [2]),  # only of a class that is not known
    ],
)
def test_unbounded_temperature_is_none(logits, classes):
    result = fit_temperature(np.array(logits, np.float32), np.array(classes, np.int64))

    assert result == 1.0


def test_unknown_class_does_not_change_temperature(random):
    logits, classes = logits_of_known_temperature(random, 2.0, cases=600)
    unknown = np.full((600, 1), -np.inf)
    # A tenth of the cases is of the class that is not known.
    params = np.where(np.arange(600) % 10 == 0, 5, classes)
    known = params < 5

    result = fit_temperature(np.hstack([logits, unknown]), params, 1e-6)

    assert result == pytest.approx(fit_temperature(logits[known], classes[known], 1e-6), rel=1e-4)
