import numpy as np
import pytest
import torch

from fb_marketplace.pipelines.vision.models.embedding_head import HeadPart
from fb_marketplace.pipelines.vision.training import metric_learning
from fb_marketplace.pipelines.vision.training.metric_learning import (
    Pairs,
    first_hits,
    fit_head,
)
from fb_marketplace.skipping import InsufficientDataError

NOISE, SIGNAL = 12, 4


@pytest.fixture
def result():
    """Sixty listings of two photos: a few features are a listing's own, more and louder ones a photo's."""
    random = np.random.default_rng(0)
    own = np.repeat(random.normal(size=(60, SIGNAL)), 2, axis=0)
    loud = random.normal(size=(120, NOISE))
    groups = np.repeat(np.arange(60), 2)
    rows = np.arange(120)
    return Pairs(
        np.hstack([own + 0.1 * random.normal(size=own.shape), loud]).astype(np.float32),
        groups,
        groups % 5,
        rows[:80],
        rows[80:],
    )


@pytest.fixture
def recipe(base_recipe, changed):
    def with_values(**values):
        few = {"epochs": 20, "listings_per_batch": 20, "dimension": 6, "learning_rate": 0.03}
        return changed(base_recipe, embedding=few | values).embedding

    return with_values


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "contrastive"},
        {"loss": "multi_similarity"},
        {"loss": "triplet"},
        {"path_loss_weight": 0.2},
        {"hard_batch_fraction": 0.5},
        {"dropout": 0.1},
    ],
    ids=str,
)
def test_photos_of_a_listing_become_nearer(result, recipe, values):
    head, history = fit_head(result, recipe(**values), seed=0)

    with torch.no_grad():
        embeddings = head(torch.from_numpy(result.features[result.validation])).numpy()
    best = max(item["validation_recall_at_1"] for item in history)
    assert first_hits(embeddings, result).mean() == pytest.approx(best)
    assert best > history[0]["validation_recall_at_1"] + 0.15


def test_similarity_of_parts_is_their_weighted_mean(result, recipe):
    parts = HeadPart(10, 0.7), HeadPart(NOISE + SIGNAL - 10, 0.3)

    head, history = fit_head(result._replace(parts=parts), recipe(dimension=10), seed=0)

    features = torch.from_numpy(result.features[result.validation])
    with torch.no_grad():
        joined = head(features)
        separate = [
            one(part) for one, part in zip(head.heads, features.split([10, 6], 1), strict=True)
        ]
    expected = sum(part.weight * one @ one.T for part, one in zip(parts, separate, strict=True))
    similarities = np.stack([(joined @ joined.T).numpy().ravel(), expected.numpy().ravel()])
    assert np.corrcoef(similarities)[0, 1] > 0.98
    best = max(item["validation_recall_at_1"] for item in history)
    assert best > history[0]["validation_recall_at_1"] + 0.1


def test_part_of_weight_zero_does_not_matter(result, recipe):
    first = result._replace(parts=(HeadPart(10, 1.0), HeadPart(6, 0.0)))
    louder = first._replace(features=first.features * np.float32([1] * 10 + [9] * 6))

    heads = [fit_head(item, recipe(epochs=2), seed=0)[0] for item in (first, louder)]

    with torch.no_grad():
        one, other = (
            head(torch.from_numpy(item.features))
            for head, item in zip(heads, (first, louder), strict=True)
        )
    torch.testing.assert_close(one @ one.T, other @ other.T, atol=1e-3, rtol=0)


@pytest.mark.parametrize("training", [40, 64])
def test_initial_head_is_no_worse_than_raw_features(result, recipe, training):
    """The last components of few photos are rounding, and must not count as much as the first."""
    wide = np.repeat(np.random.default_rng(3).normal(size=(60, 200)), 2, axis=0)
    wide = (wide + 0.5 * np.random.default_rng(4).normal(size=wide.shape)).astype(np.float32)
    few = result._replace(features=wide, training=result.training[:training])
    plain = wide[few.validation] / np.linalg.norm(wide[few.validation], axis=1, keepdims=True)

    _, history = fit_head(few, recipe(epochs=1, dimension=64), seed=0)

    assert history[0]["validation_recall_at_1"] >= first_hits(plain, few).mean() - 0.2


def test_constant_feature_does_not_dominate(result, recipe):
    silent = np.random.default_rng(1).random((len(result.features), 1)).astype(np.float32)
    silent[result.training] = 0
    more = result._replace(features=np.hstack([result.features, silent]))

    one, other = (
        fit_head(item, recipe(epochs=1, dimension=20), seed=0)[1][0] for item in (result, more)
    )

    assert other["validation_recall_at_1"] >= one["validation_recall_at_1"] - 0.05


def test_initial_components_are_standardized(result, recipe):
    louder = result._replace(features=result.features * np.float32([1] * SIGNAL + [100] * NOISE))

    one, other = (fit_head(item, recipe(epochs=1), seed=0)[1][0] for item in (result, louder))

    assert one["validation_recall_at_1"] == pytest.approx(other["validation_recall_at_1"], abs=0.05)


def test_training_is_deterministic_for_a_seed(result, recipe):
    one, again, other = (
        fit_head(result, recipe(epochs=3), seed=seed)[0].project.weight for seed in (1, 1, 2)
    )

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_test_split_does_not_affect_training(result, recipe):
    learned = result._replace(training=result.training[:60])
    changed = learned._replace(features=learned.features.copy())
    changed.features[60:80] = 99

    one, other = (fit_head(item, recipe(epochs=2), seed=0)[0] for item in (learned, changed))

    assert torch.equal(one.project.weight, other.project.weight)


def test_partner_counts_if_it_is_the_nearest_photo(result):
    params = result._replace(groups=np.array([0, 0, 1, 1, 2]), validation=np.arange(5))
    angles = np.radians([0, 10, 14, 100, 50])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    # 0 finds 1; 1 finds 2 instead; 2 finds 1; 3 finds 4; 4 has no partner and is not asked.
    assert first_hits(points, params).mean() == pytest.approx(1 / 4)


def test_single_photo_listings_are_rejected(result, recipe):
    alone = result._replace(groups=np.arange(120))

    with pytest.raises(InsufficientDataError, match=r"\b0\b.*\b0\b.*pooled"):
        fit_head(alone, recipe(), seed=0)


def test_blocks_equal_one_pass(result, monkeypatch):
    vectors = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    at_once = first_hits(vectors, result).mean()
    monkeypatch.setattr(metric_learning, "QUERY_BATCH_SIZE", 7)

    assert first_hits(vectors, result).mean() == at_once


def test_components_of_a_sample_of_the_photos_train_a_head(result, recipe, monkeypatch):
    monkeypatch.setattr(metric_learning, "MAX_SCALED", 30)

    head, _ = fit_head(result, recipe(), seed=0)

    with torch.no_grad():
        embeddings = head(torch.from_numpy(result.features[result.validation])).numpy()
    raw = result.features[result.validation]
    assert first_hits(embeddings, result).mean() > first_hits(raw, result).mean() + 0.2
