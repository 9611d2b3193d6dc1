import numpy as np
import pytest
from scipy.sparse import csr_array

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.baselines.text_classifier import (
    fit_logistic_regression,
    predict_text,
    select_text_classifier,
)
from fb_marketplace.pipelines.baselines.training_frame import join_splits

LABELS = ("Arts", "Boats", "Home", "Sport")
"""No listing is of Boats."""


@pytest.fixture(scope="module")
def listed(draw_listings):
    return join_splits(*draw_listings())


@pytest.fixture(scope="module")
def chosen(listed, parameters):
    return select_text_classifier(listed, LABELS, parameters)


def test_words_predict_the_category(listed, chosen):
    test = listed[listed["split"] == "test"]

    answered = predict_text(chosen[0], test).argmax(axis=1)

    assert [LABELS[place] for place in answered] == test["category"].to_list()


def test_probabilities_are_positive_and_sum_to_one(listed, chosen):
    result = predict_text(chosen[0], listed)

    assert result.dtype == np.float32
    assert result.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert 0 < result[:, LABELS.index("Boats")].max() < 1e-5


def test_settings_are_chosen_from_the_grid(chosen, parameters):
    assert chosen[1].strength in parameters.category.text_C_grid
    assert chosen[1].naive_bayes_weight in parameters.category.naive_bayes_weights


def test_test_split_does_not_affect_training(listed, chosen, parameters):
    other = listed.copy()
    other.loc[other["split"] == "test", ["category", "title"]] = ["Boats", "sofa"]

    again, settings = select_text_classifier(other, LABELS, parameters)

    assert settings == chosen[1]
    assert (again.weight == chosen[0].weight).all()
    assert again.temperature == chosen[0].temperature


@pytest.mark.parametrize("classes", [[0, 0, 1, 1], [0, 1, 2, 2]])
def test_two_classes_work_like_several(classes):
    inputs = csr_array(np.eye(4, dtype=np.float32))

    model = fit_logistic_regression(inputs, np.array(classes), 100.0)

    logits = inputs @ model.weight + model.bias
    assert logits.shape == (4, len(set(classes)))
    assert model.known[logits.argmax(axis=1)].tolist() == classes


def test_single_class_is_rejected():
    with pytest.raises(UserError, match="categories"):
        fit_logistic_regression(np.eye(2), np.array([1, 1]), 1.0)
