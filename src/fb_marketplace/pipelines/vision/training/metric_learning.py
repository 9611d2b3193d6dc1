"""Metric learning: trains a head that brings photos of one group together and separates others.

It reads cached features of the trained network, so it takes seconds. Losses and miners are those of
pytorch-metric-learning (Musgrave et al., 2020). This module imports torch, so pipeline nodes import
it inside functions.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import dropout

from fb_marketplace.compute.threads import limit_blas_threads
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import EmbeddingHeadParameters
from fb_marketplace.pipelines.vision.models.embedding_head import (
    EmbeddingHead,
    HeadPart,
    JoinedHeads,
)
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
        parts: columns of the features with a head of their own; empty: one head for all.
    """

    features: NDArray[np.float32]
    groups: NDArray[np.int64]
    paths: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    parts: tuple[HeadPart, ...] = ()


def fit_head(
    pairs: Pairs, config: EmbeddingHeadParameters, seed: int
) -> tuple[EmbeddingHead | JoinedHeads, list[dict[str, float]]]:
    """Train a head; return the epoch with the best Recall@1 on validation.

    The head is initialized with the principal components of the standardized features. If the features
    have parts, each has a head with a loss of its own. Their weighted embeddings are concatenated, and
    projected to the principal components of the training photos.

    Returns:
        The head, and for each epoch ``training_loss`` and ``validation_recall_at_1``; epoch 0 is the
        initialization.

    Raises:
        InsufficientDataError: there are too few pairs to train or to validate.
    """
    positives = _positives(pairs)
    torch.manual_seed(seed)
    features = torch.from_numpy(pairs.features)
    sampled = pairs.training
    if len(sampled) > MAX_SCALED:
        sampled = np.random.default_rng([seed, 3]).choice(sampled, MAX_SCALED, replace=False)
    training = features[torch.from_numpy(sampled)]
    mean, deviation = _mean_and_deviation(training)
    training.sub_(mean).div_(deviation)
    per_epoch = max(1, len(positives) // config.listings_per_batch)
    parts = pairs.parts or (HeadPart(features.shape[1], 1.0),)
    learners = []
    for place, columns in enumerate(_columns(parts)):
        head = _initialize(training[:, columns], config.dimension)
        key = [seed, 2, place] if place else [seed, 2]
        generator = np.random.default_rng(key)
        learners.append(_make_learner(head, columns, config, per_epoch, generator))
    del training  # Features may take gigabytes, so they are scaled batch by batch.

    def scaled(rows: NDArray[np.int64], columns: slice) -> torch.Tensor:
        return (features[rows, columns] - mean[columns]) / deviation[columns]

    def join(rows: NDArray[np.int64]) -> torch.Tensor:
        with torch.no_grad():
            return torch.cat(
                [
                    learner.head(scaled(rows, learner.columns)) * part.weight**0.5
                    for learner, part in zip(learners, parts, strict=True)
                ],
                dim=1,
            )

    compute_loss = _make_loss(pairs, config)
    history: list[dict[str, float]] = []
    best_recall, best_weights = -1.0, [learner.head.state_dict() for learner in learners]
    with limit_blas_threads(), Progress("epochs of the embedding", config.epochs) as progress:
        for epoch in range(config.epochs + 1):
            losses = []
            for learner in learners if epoch else ():
                for _ in range(per_epoch):
                    rows = _sample_batch(positives, pairs.paths, config, learner.generator)
                    inputs = dropout(scaled(rows, learner.columns), config.dropout)
                    loss = compute_loss(learner.head(inputs), rows)
                    learner.optimizer.zero_grad()
                    loss.backward()
                    learner.optimizer.step()
                    learner.schedule.step()
                    losses.append(loss.item())
            recall = float(first_hits(join(pairs.validation).numpy(), pairs).mean())
            trained = {"training_loss": float(np.mean(losses))} if losses else {}
            history.append({"epoch": epoch, **trained, "validation_recall_at_1": recall})
            if recall > best_recall:
                best_recall = recall
                best_weights = [copy.deepcopy(learner.head.state_dict()) for learner in learners]
            if epoch:
                progress.advance(1, f"R@1 {recall:.3f}")
    for learner, weights in zip(learners, best_weights, strict=True):
        learner.head.load_state_dict(weights)
    components = _principal_components(join, sampled, config.dimension)
    heads = [
        _fold_scaling(learner.head, mean[learner.columns], deviation[learner.columns])
        for learner in learners
    ]
    return (_join_heads(heads, parts, components) if pairs.parts[1:] else heads[0]), history


def _join_heads(
    heads: list[EmbeddingHead], parts: Sequence[HeadPart], components: torch.Tensor
) -> JoinedHeads:
    dimension = len(components)
    joined = JoinedHeads([part.width for part in parts], dimension)
    factors = torch.tensor([part.weight**0.5 for part in parts])
    with torch.no_grad():
        joined.project.weight.copy_(components * factors.repeat_interleave(dimension))
    joined.heads = torch.nn.ModuleList(heads)
    return joined.eval()


class _Learner(NamedTuple):
    """A head in training, the columns that it reads, and its order of batches."""

    head: EmbeddingHead
    columns: slice
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: np.random.Generator


def _make_learner(
    head: EmbeddingHead,
    columns: slice,
    config: EmbeddingHeadParameters,
    steps_per_epoch: int,
    generator: np.random.Generator,
) -> _Learner:
    optimizer = torch.optim.AdamW(
        head.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.learning_rate,
        total_steps=config.epochs * steps_per_epoch,
        pct_start=WARMUP_FRACTION,
    )
    return _Learner(head, columns, optimizer, schedule, generator)


def _columns(parts: Sequence[HeadPart]) -> list[slice]:
    ends = np.cumsum([part.width for part in parts]).tolist()
    return [slice(end - part.width, end) for end, part in zip(ends, parts, strict=True)]


def _principal_components(
    join: Callable[[NDArray[np.int64]], torch.Tensor], rows: NDArray[np.int64], dimension: int
) -> torch.Tensor:
    """Return the first components of the joined embeddings, not centered: float32, (dimension, width)."""
    moments: Any = 0
    for start in range(0, len(rows), QUERY_BATCH_SIZE):
        joined = join(rows[start : start + QUERY_BATCH_SIZE]).double()
        moments = moments + joined.T @ joined
    _, directions = torch.linalg.eigh(moments)
    components: torch.Tensor = directions[:, -dimension:].flip(1).T.float()
    return components


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
