"""Objectives of tuning: the parameters of the linear probe and of the embedding head."""

import json
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.ml.objective import Objective, arrays_digest
from fb_marketplace.parameters.vision import (
    NOT_IN_TRAINING,
    EmbeddingHeadParameters,
    HeadParameters,
    VisionParameters,
)
from fb_marketplace.pipelines.vision.training.linear_probe import (
    make_feature_set,
    predict,
    train_head,
)
from fb_marketplace.pipelines.vision.training.train_embedding import photos_to_pair, product_pairs
from fb_marketplace.storage.fingerprints import make_key, stage_digest
from fb_marketplace.storage.keyed_table import Table

REVISION: Final = 1
EMBEDDING_REVISION: Final = 2


def prepare_head_objective(
    vision_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> Objective:
    """Return the accuracy on validation photos as a function of ``vision.head``."""
    data = make_feature_set(vision_features, products, splits, parameters)
    is_validation = data.split == "validation"

    def evaluate(values: HeadParameters) -> NDArray[np.float64]:
        recipe = parameters.model_copy(update={"head": values})
        head, _ = train_head(data, recipe)
        predicted = predict(head, data.features[is_validation], recipe).argmax(axis=1)
        correct: NDArray[np.bool_] = predicted == data.classes[is_validation]
        return correct.astype(np.float64)

    paths = data.paths.classes if data.paths else data.classes
    recipe = parameters.model_dump(mode="json", exclude={"head", *NOT_IN_TRAINING})
    return Objective(
        "vision.head",
        "accuracy",
        parameters.head,
        data.groups[is_validation],
        make_key(
            stage_digest("tune_head", REVISION, None, ["torch"]),
            json.dumps(recipe, sort_keys=True),
            arrays_digest(data.features, data.classes, paths, data.split, data.labels),
        ),
        evaluate,
    )


def prepare_embedding_objective(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: VisionParameters,
) -> Objective:
    """Return Recall@1 of validation photos in their group, as a function of ``vision.embedding``."""
    from fb_marketplace.pipelines.vision.models.embedding_head import head_parts

    data = make_feature_set(block_features, products, photos_to_pair(splits, parameters))
    pairs = product_pairs(data, products)

    def evaluate(values: EmbeddingHeadParameters) -> NDArray[np.float64]:
        import torch

        from fb_marketplace.pipelines.vision.training.metric_learning import first_hits, fit_head

        if not values.epochs:
            raise UserError("vision.embedding.epochs is 0, so no head is trained.")
        parts = head_parts(parameters.model_copy(update={"embedding": values}))
        head, _ = fit_head(pairs._replace(parts=parts), values, parameters.seed)
        with torch.no_grad():
            embeddings = head(torch.from_numpy(pairs.features[pairs.validation])).numpy()
        return first_hits(embeddings, pairs).astype(np.float64)

    groups = pairs.groups[pairs.validation]
    return Objective(
        "vision.embedding",
        "recall_at_1",
        parameters.embedding,
        groups[np.bincount(groups)[groups] > 1],
        make_key(
            stage_digest(
                "tune_embedding", EMBEDDING_REVISION, None, ["torch", "pytorch-metric-learning"]
            ),
            parameters.seed,
            parameters.backbone,
            arrays_digest(*pairs[:-1]),
        ),
        evaluate,
    )
