"""Metric learning: trains a head that brings photos of one group together and separates others.

It reads cached features of the trained network, so it takes seconds. Losses and miners are those of
pytorch-metric-learning (Musgrave et al., 2020). This module imports torch, so pipeline nodes import
it inside functions.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import dropout

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import EmbeddingHeadParameters
from fb_marketplace.pipelines.vision.models.embedding_head import EmbeddingHead
from fb_marketplace.skipping import InsufficientDataError

WARMUP_FRACTION: Final = 0.3

PATH_TEMPERATURE: Final = 0.1

MIN_RELATIVE_DEVIATION: Final = 1e-3
"""Standard deviation below which a feature or principal component counts as constant.

It is relative to the mean deviation of features, or to the largest deviation of components.
"""

MAX_SCALED: Final = 50_000
"""Training photos from which the scaling and the principal components are computed."""

QUERY_BATCH_SIZE: Final = 1024
"""Photos per batch of queries; bounds the memory."""


class Pairs(NamedTuple):
    """Training and validation photos, as rows of one array.

    Attributes:
        features: float32, (photos, features), the pooled blocks.
        groups: int64, (photos,), the group of each photo; photos of one group are positives.
        paths: int64, (photos,), the category path of each photo.
        training: int64, rows of the training split.
        validation: int64, rows of the validation split.
    """

    features: NDArray[np.float32]
    groups: NDArray[np.int64]
    paths: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def fit_head(
    pairs: Pairs, config: EmbeddingHeadParameters, seed: int
) -> tuple[EmbeddingHead, list[dict[str, float]]]:
    """Train a head; return the epoch with the best Recall@1 on validation.

    The head is initialized with the principal components of the standardized features.

    Returns:
        The head, and for each epoch ``training_loss`` and ``validation_recall_at_1``; epoch 0 is the
        initialization.

    Raises:
        InsufficientDataError: there are too few pairs to train or to validate.
    """
    positives = _positives(pairs)
    generator = np.random.default_rng([seed, 2])
    torch.manual_seed(seed)
    features = torch.from_numpy(pairs.features)
    sampled = pairs.training
    if len(sampled) > MAX_SCALED:
        sampled = np.random.default_rng([seed, 3]).choice(sampled, MAX_SCALED, replace=False)
    training = features[torch.from_numpy(sampled)]
    mean, deviation = _mean_and_deviation(training)
    head = _initialize(training.sub_(mean).div_(deviation), config.dimension)
    del training  # Features may take gigabytes, so they are scaled batch by batch.

    def scaled(rows: NDArray[np.int64]) -> torch.Tensor:
        return (features[rows] - mean) / deviation

    validation = scaled(pairs.validation)
    per_epoch = max(1, len(positives) // config.listings_per_batch)
    optimizer = torch.optim.AdamW(
        head.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        total_steps=config.epochs * per_epoch,
        pct_start=WARMUP_FRACTION,
    )
    compute_loss = _make_loss(pairs, config)
    history: list[dict[str, float]] = []
    best_recall, best_weights = -1.0, head.state_dict()
    with limit_blas_threads(), Progress("epochs of the embedding", config.epochs) as progress:
        for epoch in range(config.epochs + 1):
            losses = []
            for _ in range(per_epoch if epoch else 0):
                rows = _sample_batch(positives, pairs.paths, config, generator)
                loss = compute_loss(head(dropout(scaled(rows), config.dropout)), rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
            with torch.no_grad():
                embeddings = head(validation).numpy()
            recall = float(first_hits(embeddings, pairs).mean())
            trained = {"training_loss": float(np.mean(losses))} if losses else {}
            history.append({"epoch": epoch, **trained, "validation_recall_at_1": recall})
            if recall > best_recall:
                best_recall = recall
                best_weights = {name: value.clone() for name, value in head.state_dict().items()}
            if epoch:
                progress.advance(1, f"R@1 {recall:.3f}")
    head.load_state_dict(best_weights)
    return _fold_scaling(head, mean, deviation), history


def first_hits(embeddings: NDArray[np.float32], pairs: Pairs) -> NDArray[np.bool_]:
    """Check whether the first hit of each validation photo is in its group. The mean is Recall@1.

    Groups contain copies, so the value is higher than in the retrieval metrics, which exclude copies.

    Args:
        embeddings: float32, (validation photos, dimension).
        pairs: groups of the photos.

    Returns:
        bool, (photos with another photo in their group,).
    """
    groups = pairs.groups[pairs.validation]
    nearest = np.empty(len(groups), np.int64)
    for start in range(0, len(groups), QUERY_BATCH_SIZE):
        similarity = embeddings[start : start + QUERY_BATCH_SIZE] @ embeddings.T
        np.fill_diagonal(similarity[:, start:], -np.inf)
        nearest[start : start + QUERY_BATCH_SIZE] = similarity.argmax(axis=1)
    has_partner = np.bincount(groups)[groups] > 1
    hits: NDArray[np.bool_] = (groups[nearest] == groups)[has_partner]
    return hits


def _positives(pairs: Pairs) -> list[NDArray[np.int64]]:
    """Return the training rows of each group with two or more photos."""
    training = pairs.training[np.argsort(pairs.groups[pairs.training], kind="stable")]
    cuts = np.flatnonzero(np.diff(pairs.groups[training])) + 1
    positives = [rows for rows in np.split(training, cuts) if len(rows) > 1]
    validation_groups = int((np.bincount(pairs.groups[pairs.validation]) > 1).sum())
    if len(positives) < 2 or not validation_groups:
        raise InsufficientDataError(
            f"cannot train the embedding head: found {len(positives):,} training and "
            f"{validation_groups:,} validation groups with at least two photos; expected two and one. "
            "The pooled features are served instead"
        )
    return positives


def _mean_and_deviation(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    deviation = features.std(0)
    minimum = MIN_RELATIVE_DEVIATION * float(deviation.mean())
    return features.mean(0), deviation.clamp(min=minimum)


def _initialize(scaled: torch.Tensor, dimension: int) -> EmbeddingHead:
    """Build a head of principal components, each divided by the square root of its deviation.

    Rows beyond the number of components are zero. ``scaled`` is overwritten.
    """
    features = scaled.shape[1]
    head = EmbeddingHead(features, dimension)
    rank = min(dimension, *scaled.shape)
    _, deviations, directions = torch.svd_lowrank(scaled.div_(len(scaled) ** 0.5), q=rank, niter=4)
    used = deviations > MIN_RELATIVE_DEVIATION * deviations[0]
    components = (directions[:, used] / deviations[used] ** 0.5).T * features**-0.25
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.weight[: len(components)] = components
        head.project.bias.zero_()
    return head


def _make_loss(pairs: Pairs, config: EmbeddingHeadParameters) -> Any:
    """Build a loss function of embeddings, float32 (n, dimension), and their rows, int64 (n,)."""
    from pytorch_metric_learning import losses, miners

    pair_loss = {
        "contrastive": lambda: losses.SupConLoss(config.temperature),
        "multi_similarity": losses.MultiSimilarityLoss,
        "triplet": losses.TripletMarginLoss,
    }[config.loss]()
    mining = {"multi_similarity": miners.MultiSimilarityMiner, "triplet": miners.BatchHardMiner}
    miner = mining[config.loss]() if config.loss in mining else None
    path_loss = losses.SupConLoss(PATH_TEMPERATURE)
    groups, paths = torch.from_numpy(pairs.groups), torch.from_numpy(pairs.paths)

    def compute_loss(embeddings: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        labels = groups[rows]
        hard = miner(embeddings, labels) if miner else None
        loss: torch.Tensor = pair_loss(embeddings, labels, hard)
        if config.path_loss_weight:
            loss = loss + config.path_loss_weight * path_loss(embeddings, paths[rows])
        return loss

    return compute_loss


def _sample_batch(
    positives: list[NDArray[np.int64]],
    paths: NDArray[np.int64],
    config: EmbeddingHeadParameters,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Sample two photos of each of several groups; in hard batches, groups have similar category paths."""
    count = min(config.listings_per_batch, len(positives))
    if generator.random() < config.hard_batch_fraction:
        path_of_group = [paths[rows[0]] for rows in positives]
        order = np.lexsort((generator.random(len(positives)), path_of_group))
        start = int(generator.integers(len(positives) - count + 1))
        selected = order[start : start + count]
    else:
        selected = generator.choice(len(positives), count, replace=False)
    rows = [generator.choice(positives[group], 2, replace=False) for group in selected]
    return np.concatenate(rows).astype(np.int64)


def _fold_scaling(
    head: EmbeddingHead, mean: torch.Tensor, deviation: torch.Tensor
) -> EmbeddingHead:
    """Return the equivalent head for unscaled features."""
    with torch.no_grad():
        head.project.weight /= deviation
        head.project.bias.sub_(head.project.weight @ mean)
    return head.eval()
