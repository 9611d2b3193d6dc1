"""Metric learning: a head that brings photos of one listing near each other, and others apart.

It is trained on pooled levels of the trained network, which are made once, so that it takes seconds.
Losses and miners are pytorch-metric-learning's (Musgrave et al., 2020). Imported only where training
is, as it imports torch.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import dropout

from fb_marketplace.errors import UserError
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.vision import EmbeddingHeadParameters
from fb_marketplace.pipelines.vision.models.embedding_head import EmbeddingHead

WARM_UP: Final = 0.3
"""Share of the steps in which the rate rises."""

PATH_TEMPERATURE: Final = 0.1

MIN_HARD_SHARE: Final = 1e-3
"""Of a deviation, beside the mean or the largest, below which a feature or a component says nothing."""

QUERY_BATCH_SIZE: Final = 1024
"""Photos; bounds the memory."""


class Pairs(NamedTuple):
    """Photos to learn from, and photos to choose by; rows of one array of pooled levels.

    Attributes:
        levels: float32, (photos, features).
        groups: int64, (photos,): photos of one group are alike, being of one listing or of copies.
        paths: int64, (photos,), the category path of each.
        training: int64, rows that are learned.
        validation: int64, rows that choices are made on.
    """

    levels: NDArray[np.float32]
    groups: NDArray[np.int64]
    paths: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def fit_head(
    found: Pairs, told: EmbeddingHeadParameters, seed: int
) -> tuple[EmbeddingHead, list[dict[str, float]]]:
    """Train a head; of its epochs, the one that finds the most partners on validation is kept.

    It begins as the main components of the levels, each of which counts by its standard deviation, so
    that no level drowns another.

    Returns:
        The head, and for each epoch ``training_loss`` and ``validation_recall_at_1``; epoch 0 is where
        it began.

    Raises:
        UserError: no two photos are alike, or no photo has a partner to choose by.
    """
    partners = _partners(found)
    generator = np.random.default_rng([seed, 2])
    torch.manual_seed(seed)
    levels = torch.from_numpy(found.levels)
    mean, deviation = _scale(levels[torch.from_numpy(found.training)])
    scaled = (levels - mean) / deviation
    head = _begin(scaled[torch.from_numpy(found.training)], told.dimension)
    per_epoch = max(1, len(partners) // told.listings_per_batch)
    optimiser = torch.optim.AdamW(
        head.parameters(), told.learning_rate, weight_decay=told.weight_decay
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, told.learning_rate, total_steps=told.epochs * per_epoch, pct_start=WARM_UP
    )
    loss_of = _loss(found, told)
    history: list[dict[str, float]] = []
    best, kept = -1.0, head.state_dict()
    with Progress("epochs of the embedding", told.epochs) as progress:
        for epoch in range(told.epochs + 1):
            losses = []
            for _ in range(per_epoch if epoch else 0):
                rows = _batch(partners, found.paths, told, generator)
                loss = loss_of(head(dropout(scaled[rows], told.dropout)), rows)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rate.step()
                losses.append(loss.item())
            with torch.no_grad():
                right = recall_at_1(head(scaled[found.validation]).numpy(), found)
            trained = {"training_loss": float(np.mean(losses))} if losses else {}
            history.append({"epoch": epoch, **trained, "validation_recall_at_1": right})
            if right > best:
                best = right
                kept = {name: value.clone() for name, value in head.state_dict().items()}
            if epoch:
                progress.advance(1, f"partner first {right:.3f}")
    head.load_state_dict(kept)
    return _unscaled(head, mean, deviation), history


def recall_at_1(embeddings: NDArray[np.float32], found: Pairs) -> float:
    """Give how often the nearest other validation photo is of the same group, of those that have one.

    Copies are of one group too, so it is somewhat more than the measures of the search, which leave
    them out.
    """
    groups = found.groups[found.validation]
    nearest = np.empty(len(groups), np.int64)
    for start in range(0, len(groups), QUERY_BATCH_SIZE):
        near = embeddings[start : start + QUERY_BATCH_SIZE] @ embeddings.T
        np.fill_diagonal(near[:, start:], -np.inf)
        nearest[start : start + QUERY_BATCH_SIZE] = near.argmax(axis=1)
    asked = np.bincount(groups)[groups] > 1
    return float((groups[nearest] == groups)[asked].mean())


def _partners(found: Pairs) -> list[NDArray[np.int64]]:
    """Give the training rows of each group that has two or more."""
    training = found.training[np.argsort(found.groups[found.training], kind="stable")]
    cuts = np.flatnonzero(np.diff(found.groups[training])) + 1
    partners = [rows for rows in np.split(training, cuts) if len(rows) > 1]
    to_choose_by = int((np.bincount(found.groups[found.validation]) > 1).sum())
    if len(partners) < 2 or not to_choose_by:
        raise UserError(
            "an embedding is learned from groups with two photos: found "
            f"{len(partners):,} to train on and {to_choose_by:,} to choose by, expected two or more and "
            "one or more. Give more listings, or set vision.embedding.epochs to 0 and "
            "vision.embedding.layer to pool; what is trained stays"
        )
    return partners


def _scale(levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    deviation = levels.std(0)
    return levels.mean(0), deviation.clamp(min=MIN_HARD_SHARE * float(deviation.mean()))


def _begin(scaled: torch.Tensor, dimension: int) -> EmbeddingHead:
    """Make a head of the main components, each divided by the square root of its deviation.

    Where photos are fewer than the dimension, what is left over begins at zero.
    """
    features = scaled.shape[1]
    head = EmbeddingHead(features, dimension)
    taken = min(dimension, *scaled.shape)
    _, deviations, directions = torch.svd_lowrank(scaled / len(scaled) ** 0.5, q=taken, niter=4)
    there = deviations > MIN_HARD_SHARE * deviations[0]
    components = (directions[:, there] / deviations[there] ** 0.5).T * features**-0.25
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.weight[: len(components)] = components
        head.project.bias.zero_()
    return head


def _loss(found: Pairs, told: EmbeddingHeadParameters) -> Any:
    """Give the loss of embeddings, float32 (n, dimension), of the photos at n rows."""
    from pytorch_metric_learning import losses, miners

    alike = {
        "contrastive": lambda: losses.SupConLoss(told.temperature),
        "multi_similarity": losses.MultiSimilarityLoss,
        "triplet": losses.TripletMarginLoss,
    }[told.loss]()
    mined = {"multi_similarity": miners.MultiSimilarityMiner, "triplet": miners.BatchHardMiner}
    miner = mined[told.loss]() if told.loss in mined else None
    of_paths = losses.SupConLoss(PATH_TEMPERATURE)
    groups, paths = torch.from_numpy(found.groups), torch.from_numpy(found.paths)

    def loss_of(embeddings: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        labels = groups[rows]
        hard = miner(embeddings, labels) if miner else None
        loss: torch.Tensor = alike(embeddings, labels, hard)
        if told.path_weight:
            loss = loss + told.path_weight * of_paths(embeddings, paths[rows])
        return loss

    return loss_of


def _batch(
    partners: list[NDArray[np.int64]],
    paths: NDArray[np.int64],
    told: EmbeddingHeadParameters,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw two photos of each of some groups; hard batches are of neighbours in the tree of categories."""
    count = min(told.listings_per_batch, len(partners))
    if generator.random() < told.hard_batches:
        of = [paths[rows[0]] for rows in partners]
        order = np.lexsort((generator.random(len(partners)), of))
        start = int(generator.integers(len(partners) - count + 1))
        chosen = order[start : start + count]
    else:
        chosen = generator.choice(len(partners), count, replace=False)
    drawn = [generator.choice(partners[place], 2, replace=False) for place in chosen]
    return np.concatenate(drawn).astype(np.int64)


def _unscaled(head: EmbeddingHead, mean: torch.Tensor, deviation: torch.Tensor) -> EmbeddingHead:
    """Give the same head for levels as they are."""
    with torch.no_grad():
        head.project.weight /= deviation
        head.project.bias.sub_(head.project.weight @ mean)
    return head.eval()
