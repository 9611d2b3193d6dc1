import numpy as np
import pytest
import torch

from fb_marketplace.pipelines.vision.data.category_paths import CategoryPaths
from fb_marketplace.pipelines.vision.data.dataset import BatchSampler, PhotoDataset, make_loader
from fb_marketplace.pipelines.vision.data.task import make_task
from fb_marketplace.pipelines.vision.models.network import make_head, network_weights
from fb_marketplace.pipelines.vision.training import train_loop
from fb_marketplace.pipelines.vision.training.fine_tuning import make_training_state
from fb_marketplace.pipelines.vision.training.linear_probe import HeadWeights
from fb_marketplace.pipelines.vision.training.train_loop import learning_rate_at, train_epoch

LABELS = ("Blue", "Green", "Red")


@pytest.fixture
def train(marketplace, base_recipe, changed):
    """Trains the first epoch of a recipe; gives its parts, what they were, and what was measured."""

    def run(path_loss_weight=0.0, **fine_tuning):
        recipe = changed(base_recipe, path_loss_weight=path_loss_weight, fine_tuning=fine_tuning)
        task = make_task(*marketplace, recipe)
        torch.manual_seed(0)
        weights = network_weights(make_head(recipe, 3, task.paths.counts if task.paths else ()))
        parts = make_training_state(HeadWeights(weights, LABELS), recipe)
        before = network_weights(parts.network)
        reading = make_loader(
            PhotoDataset(task.images, task.rows.tolist()), BatchSampler(len(task.rows), 8, 0), 0
        )
        return parts, before, train_epoch(parts, task, reading, 1, recipe)

    return run


@pytest.mark.parametrize(("averaging", "similar"), [(0.0, True), (0.9, False)])
def test_weight_average_lags_behind_training(train, averaging, similar):
    parts, before, _ = train(ema_decay=averaging)

    now, start = parts.network.head.fc.weight, before["head.fc.weight"]
    average = parts.average.module.head.fc.weight
    assert torch.equal(average, now) is similar
    assert (average - start).norm() <= (now - start).norm()
    assert not torch.equal(average, start)


@pytest.mark.parametrize(("limit", "clipped"), [(0.01, True), (1e6, False)])
def test_gradient_norm_is_clipped(train, limit, clipped):
    parts, _, _ = train(max_gradient_norm=limit)

    weights = [weight for group in parts.optimizer.param_groups for weight in group["params"]]
    length = float(torch.stack([weight.grad.norm() for weight in weights]).norm())
    assert (length <= 0.01 * 1.001) is clipped


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_weighted_paths_are_learned(train, weight):
    parts, before, _ = train(path_loss_weight=weight)

    moved = parts.network.head.fc.bias - before["head.fc.bias"]
    assert len(moved) == (6 if weight else 3)
    if weight:
        # Blue things, other blue ones, of which there are none, and so on.
        assert (moved[::2] > moved[1::2]).all()


def test_target_is_the_path_of_the_photo(marketplace, base_recipe, changed):
    recipe = changed(base_recipe, path_loss_weight=1.0, label_smoothing=0.0)
    task = make_task(*marketplace, recipe)
    numbers = np.random.default_rng(0).permutation(len(task.rows))
    task = task._replace(paths=CategoryPaths(numbers, (len(numbers) - 2, 1, 1)))
    parts = make_training_state(
        HeadWeights(network_weights(make_head(recipe, 3, task.paths.counts)), LABELS), recipe
    )
    places = torch.tensor([5, 11, 2])
    sure = [
        40 * torch.nn.functional.one_hot(torch.from_numpy(true)[places], many).float()
        for true, many in ((task.classes, 3), (numbers, len(numbers)))
    ]

    loss_of = train_loop._make_batch_loss(task, parts, recipe)

    assert float(loss_of(*sure, places)) == pytest.approx(0, abs=1e-6)
    assert float(loss_of(sure[0], sure[1].roll(1, 0), places)) > 10


def test_batch_statistics_of_frozen_blocks_are_unchanged(train):
    parts, before, _ = train(trainable_blocks=1)

    after = network_weights(parts.network)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert {name.split(".")[1] for name in moved} == {"block4", "fc"}


def test_epoch_reports_loss_and_learning_rate(train):
    _, _, measures = train(epochs=1, learning_rate=0.01)

    assert np.isfinite(measures["training_loss"])
    assert 0 < measures["learning_rate"] < 0.01


def test_longer_training_decays_more_slowly(train):
    short, long = (train(epochs=epochs)[2]["learning_rate"] for epochs in (1, 4))

    assert long > short


def test_learning_rate_warms_up_linearly():
    assert [learning_rate_at(step, 100, 0.1) for step in range(10)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    )


def test_learning_rate_decays_to_nearly_zero():
    falling = [learning_rate_at(step, 100, 0.1) for step in range(10, 100)]

    assert falling[0] == 1
    assert falling == sorted(falling, reverse=True)
    assert falling[45] == pytest.approx(0.5)
    assert 0 <= falling[-1] < 0.001


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5, 1.0])
def test_learning_rate_is_bounded_for_any_schedule(warmup_fraction):
    for steps in (1, 2, 7):
        rates = [learning_rate_at(step, steps, warmup_fraction) for step in range(steps)]

        assert min(rates) >= 0
        assert max(rates) == 1
