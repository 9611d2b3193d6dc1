import numpy as np
import pandas as pd
import pytest
import torch

from fb_marketplace.pipelines.vision.data.category_paths import category_paths
from fb_marketplace.pipelines.vision.models.network import HeadWeights

LABELS = ("Garden", "Home", "Toys")
PHOTOS = pd.DataFrame(
    [
        *[("Home", "Home / Chairs", "train")] * 4,
        *[("Home", "Home / Beds", "train")] * 4,
        *[("Home", "Home / Rare", "train")] * 3,
        *[("Home", "Home / Rare", "test")] * 9,
        *[("Garden", "Garden", "train")] * 5,
        ("Home", "Home / Beds", "validation"),
        ("Toys", "Toys / Dolls", "test"),
    ],
    columns=["category", "category_path", "split"],
)


@pytest.fixture
def recipe(told, changed):
    return changed(told, path_weight=0.5, path_photos=4)


def test_paths_of_photos_enough_in_training_are_told_apart_and_all_others_together(recipe):
    paths = category_paths(PHOTOS, LABELS, recipe)

    assert paths.counts == (2, 3, 1)
    garden, (beds, chairs, other_home), toys = 0, (2, 3, 4), 5
    assert paths.of.tolist() == [
        *[chairs] * 4,
        *[beds] * 4,
        *[other_home] * 12,
        *[garden] * 5,
        beds,
        toys,
    ]


def test_what_is_not_training_changes_no_number(recipe):
    learnt = PHOTOS[PHOTOS["split"] == "train"]

    paths = category_paths(learnt, LABELS, recipe)

    everything = category_paths(PHOTOS, LABELS, recipe)
    assert paths.counts == everything.counts
    assert paths.of.tolist() == everything.of[: len(learnt) - 5].tolist() + [0] * 5


def test_without_a_weight_the_categories_alone_are_told_apart(told, changed):
    assert category_paths(PHOTOS, LABELS, changed(told, path_weight=0.0)) is None


def test_a_category_is_as_probable_as_all_of_its_paths_together():
    torch.manual_seed(0)
    head = HeadWeights(5, 0, 3, (2, 3, 1)).eval()
    features = torch.randn(4, 5)

    finer = head.tell_apart(head.embed(features)).softmax(1).detach().numpy()

    expected = np.stack([finer[:, :2].sum(1), finer[:, 2:5].sum(1), finer[:, 5]], axis=1)
    found = head(features).softmax(1).detach().numpy()
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_head_without_paths_keeps_nothing_of_them():
    assert set(HeadWeights(5, 0, 3).state_dict()) == {"fc.weight", "fc.bias"}
    assert HeadWeights(5, 4, 3, (2, 3, 1)).state_dict()["path_counts"].tolist() == [2, 3, 1]


def test_weights_and_labels_of_two_trainings_are_refused():
    with pytest.raises(ValueError, match=r"\b3\b.*\b4\b"):
        HeadWeights(5, 0, 4, (2, 3, 1))
