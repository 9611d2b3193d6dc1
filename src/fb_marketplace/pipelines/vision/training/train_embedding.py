"""The nodes of metric learning: the head of the embedding, and the layers that it is measured beside."""

import json
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.vision.models.backbones import HIDDEN, METRIC, POOL
from fb_marketplace.pipelines.vision.training.linear_probe import (
    FeatureSet,
    make_feature_set,
    train_head,
)
from fb_marketplace.schemas.splits import EVALUATION_SPLITS
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    from fb_marketplace.pipelines.vision.models.embedding_head import EmbeddingHead, Layer
    from fb_marketplace.pipelines.vision.models.network import Network
    from fb_marketplace.pipelines.vision.training.metric_learning import Pairs

ORIGINAL_WIDTH: Final = 1000
"""Of the hidden layer that the original put over its backbone."""


logger = logging.getLogger(__name__)


class TrainedEmbedding(NamedTuple):
    """A head, and how its training went; an empty file where none was asked for."""

    embedding_head: bytes
    embedding_history: list[dict[str, float]]


def train_embedding_head(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    parameters: VisionParameters,
) -> TrainedEmbedding:
    """Train the head of the embedding on pairs of the training groups, chosen on validation.

    Args:
        block_features: the pooled levels of every photo.
        products: the listings, for their category paths.
        splits: where each photo belongs, and its group; ``test`` is not looked at.
        vision_model: the network whose levels they are.
        parameters: the recipe.
    """
    if not parameters.embedding.epochs:
        return TrainedEmbedding(b"", [])
    from safetensors.torch import save

    from fb_marketplace.pipelines.vision.models.network import network_weights
    from fb_marketplace.pipelines.vision.training.metric_learning import fit_head

    found = make_feature_set(block_features, products, splits)
    try:
        head, history = fit_head(
            product_pairs(found, products), parameters.embedding, parameters.seed
        )
    except UserError as error:
        if parameters.embedding.layer == METRIC:
            raise
        logger.warning("no head is trained, and none is asked for: %s", error)
        return TrainedEmbedding(b"", [])
    card = {
        "recipe": parameters.embedding.model_dump(mode="json"),
        "model": sha256(vision_model.read()),
    }
    written = save(network_weights(head), {"card": json.dumps(card, sort_keys=True)})
    return TrainedEmbedding(written, history)


def product_pairs(found: FeatureSet, products: pd.DataFrame) -> "Pairs":
    """Say which photos are alike: those of a group, being of one listing, of copies or of one text."""
    from fb_marketplace.pipelines.vision.training.metric_learning import Pairs

    path = products.set_index("product_id")["category_path"]
    return Pairs(
        found.features,
        _numbers(found.groups),
        _numbers(path.loc[found.product_ids.tolist()].to_numpy(dtype=np.str_)),
        np.flatnonzero(found.split == "train"),
        np.flatnonzero(found.split == "validation"),
    )


def embedding_layer(
    network: "Network", model: str, embedding_head: bytes, parameters: VisionParameters
) -> "Layer":
    """Give the layer that is served as the embedding.

    Args:
        network: whose layer it is.
        model: sha256 of the file that the network was read from.
        embedding_head: safetensors, or empty.
        parameters: which layer.

    Raises:
        UserError: the network has no such layer, or the head was trained on other levels.
    """
    from fb_marketplace.pipelines.vision.models.embedding_head import Layer

    told = parameters.embedding
    if told.layer == METRIC and embedding_head:
        card = _card_of(embedding_head)
        found = (card["model"], card["recipe"]["levels"], card["recipe"]["power"])
        if found != (model, told.levels, told.power):
            raise UserError(
                f"the head of the embedding was trained on other levels: found {found[1]} to the power "
                f"{found[2]} of the model {found[0][:12]}, expected {told.levels} to the power "
                f"{told.power} of {model[:12]}; `kedro run --pipeline=vision` trains it anew, and the "
                "network only where its recipe has changed"
            )
    return Layer(network, told.layer, _read_head(embedding_head), told.levels, told.power).eval()


def embed_layers(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> pd.DataFrame:
    """Embed the photos that are measured by other layers of the same network, for a comparison.

    They are the levels that the head of the embedding sees, and ``fc.1``: the hidden layer of the
    original's head over this backbone (Linear, ReLU, Linear), trained on its pooled features, or where
    the backbone has such a head, its own.

    Returns:
        ``image_id``, ``layer`` and ``embedding``, of photos of the validation and test split.
    """
    from fb_marketplace.pipelines.vision.models.embedding_head import block_names, block_slices
    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    network = load_trained_network(vision_model.read(), len(vision_labels), parameters)
    found = make_feature_set(block_features, products, splits)
    cuts = block_slices(network, block_names(network, parameters.embedding.levels))
    layers = {level: found.features[:, cut] for level, cut in cuts.items()}
    layers[HIDDEN] = _hidden(network, found._replace(features=layers[POOL]), parameters)
    asked = np.isin(found.split, EVALUATION_SPLITS)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "image_id": found.image_ids[asked],
                    "layer": layer,
                    "embedding": list(_unit(vectors[asked])),
                }
            )
            for layer, vectors in layers.items()
        ],
        ignore_index=True,
    )


def _hidden(
    network: "Network", found: FeatureSet, parameters: VisionParameters
) -> NDArray[np.float32]:
    import torch

    from fb_marketplace.pipelines.vision.models.network import make_head

    head = network.head
    if not isinstance(head.fc, torch.nn.Sequential):
        trained, _ = train_head(found, parameters, ORIGINAL_WIDTH)
        head = make_head(parameters, len(found.labels), hidden=ORIGINAL_WIDTH)
        head.load_state_dict(trained.weights)
    with torch.no_grad():
        hidden: NDArray[np.float32] = head.eval().embed(torch.from_numpy(found.features)).numpy()
    return hidden


def _card_of(embedding_head: bytes) -> dict[str, Any]:
    """Read the card: the header of a safetensors file is its length and JSON."""
    length = int.from_bytes(embedding_head[:8], "little")
    card: dict[str, Any] = json.loads(
        json.loads(embedding_head[8 : 8 + length])["__metadata__"]["card"]
    )
    return card


def _read_head(embedding_head: bytes) -> "EmbeddingHead | None":
    if not embedding_head:
        return None
    from safetensors.torch import load

    from fb_marketplace.pipelines.vision.models.embedding_head import EmbeddingHead

    weights = load(embedding_head)
    dimension, features = weights["project.weight"].shape
    head = EmbeddingHead(features, dimension)
    head.load_state_dict(weights)
    return head.eval()


def _numbers(names: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
