import numpy as np
import pandas as pd
import pytest
import torch

from fb_marketplace.pipelines.vision.data.category_paths import category_paths
from fb_marketplace.pipelines.vision.models.network import ClassificationHead

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
def recipe(base_recipe, changed):
    return changed(base_recipe, path_loss_weight=0.5, min_photos_per_path=4)


def test_frequent_paths_are_classes_and_others_are_grouped(recipe):
    paths = category_paths(PHOTOS, LABELS, recipe)

    assert paths.counts == (2, 3, 1)
    garden, (beds, chairs, other_home), toys = 0, (2, 3, 4), 5
    assert paths.classes.tolist() == [
        *[chairs] * 4,
        *[beds] * 4,
        *[other_home] * 12,
        *[garden] * 5,
        beds,
        toys,
    ]


def test_evaluation_splits_do_not_affect_classes(recipe):
    learnt = PHOTOS[PHOTOS["split"] == "train"]

    paths = category_paths(learnt, LABELS, recipe)

    everything = category_paths(PHOTOS, LABELS, recipe)
    assert paths.counts == everything.counts
    assert paths.classes.tolist() == everything.classes[: len(learnt) - 5].tolist() + [0] * 5


def test_zero_weight_uses_categories_only(base_recipe, changed):
    assert category_paths(PHOTOS, LABELS, changed(base_recipe, path_loss_weight=0.0)) is None


def test_category_probability_is_sum_of_its_paths():
    torch.manual_seed(0)
    head = ClassificationHead(5, 0, 3, (2, 3, 1)).eval()
    features = torch.randn(4, 5)

    finer = head.path_logits(head.embed(features)).softmax(1).detach().numpy()

    expected = np.stack([finer[:, :2].sum(1), finer[:, 2:5].sum(1), finer[:, 5]], axis=1)
    result = head(features).softmax(1).detach().numpy()
    assert result == pytest.approx(expected, abs=1e-6)


def test_head_without_paths_drops_path_weights():
    assert set(ClassificationHead(5, 0, 3).state_dict()) == {"fc.weight", "fc.bias"}
    assert ClassificationHead(5, 4, 3, (2, 3, 1)).state_dict()["path_counts"].tolist() == [2, 3, 1]


def test_weights_and_labels_of_other_training_are_rejected():
    with pytest.raises(ValueError, match=r"\b3\b.*\b4\b"):
        ClassificationHead(5, 0, 4, (2, 3, 1))
