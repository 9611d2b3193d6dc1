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
def vectors(listed, listing_vectors):
    return listing_vectors(listed).texts


@pytest.fixture(scope="module")
def chosen(listed, vectors, parameters):
    return select_text_classifier(listed, LABELS, vectors, parameters)


def test_words_predict_the_category(listed, vectors, chosen):
    test = listed[listed["split"] == "test"]

    answered = predict_text(chosen[0], test, vectors).argmax(axis=1)

    assert [LABELS[place] for place in answered] == test["category"].to_list()


def test_probabilities_are_positive_and_sum_to_one(listed, vectors, chosen):
    result = predict_text(chosen[0], listed, vectors)

    assert result.dtype == np.float32
    assert result.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert 0 < result[:, LABELS.index("Boats")].max() < 1e-5


def test_settings_are_chosen_from_the_grid(chosen, parameters):
    assert chosen[1].strength in parameters.category.text_C_grid
    assert chosen[1].naive_bayes_weight in parameters.category.naive_bayes_weights
    assert chosen[1].sentence_weight in parameters.category.sentence_weights


@pytest.mark.parametrize("informative", [True, False])
def test_sentences_count_if_they_predict_the_category(listed, vectors, parameters, informative):
    same_words = listed.assign(title="A good thing", description="Collect it soon")
    embeddings = vectors if informative else vectors._replace(matrix=vectors.matrix[::-1].copy())
    test = same_words[same_words["split"] == "test"]

    model, settings = select_text_classifier(same_words, LABELS, embeddings, parameters)

    predicted = predict_text(model, test, embeddings).argmax(axis=1)
    correct = [LABELS[place] for place in predicted] == test["category"]
    assert (settings.sentence_weight > 0) is informative
    assert bool(correct.mean() > 0.9) is informative


def test_sentence_model_has_a_maximum_of_listings(listed, vectors, parameters):
    few = parameters.category.model_copy(update={"max_sentence_listings": 20})

    model, _ = select_text_classifier(
        listed, LABELS, vectors, parameters.model_copy(update={"category": few})
    )

    assert len(model.sentences.cases) == len(model.sentences.weights) == 20


def test_test_split_does_not_affect_training(listed, vectors, chosen, parameters):
    other = listed.copy()
    other.loc[other["split"] == "test", ["category", "title"]] = ["Boats", "sofa"]

    again, settings = select_text_classifier(other, LABELS, vectors, parameters)

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
