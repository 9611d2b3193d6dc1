"""Embedding nodes: the trained embedding head, and other layers to compare it with."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.errors import UserError
from fb_marketplace.evaluation.sampling import sample_order
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
    from fb_marketplace.pipelines.vision.models.embedding_head import (
        EmbeddingHead,
        JoinedHeads,
        Layer,
    )
    from fb_marketplace.pipelines.vision.models.network import Network
    from fb_marketplace.pipelines.vision.training.metric_learning import Pairs

ORIGINAL_WIDTH: Final = 1000
"""Width of the hidden layer in the original project."""


class TrainedEmbedding(NamedTuple):
    """The embedding head, safetensors, and its training history; both empty without training."""

    embedding_head: bytes
    embedding_history: list[dict[str, float]]


def train_embedding_head(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    parameters: VisionParameters,
) -> TrainedEmbedding:
    """Train the embedding head on photo pairs of training groups; return the best epoch on validation.

    Args:
        block_features: the pooled blocks of every photo.
        products: the listings, for their category paths.
        splits: group and split of each photo; ``test`` is not used.
        vision_model: the network that computed the blocks.
        parameters: the recipe.

    Raises:
        InsufficientDataError: there are too few pairs to train or to validate.
    """
    if not parameters.embedding.epochs:
        return TrainedEmbedding(b"", [])
    from safetensors.torch import save

    from fb_marketplace.pipelines.vision.models.embedding_head import head_parts
    from fb_marketplace.pipelines.vision.models.network import network_weights
    from fb_marketplace.pipelines.vision.training.metric_learning import fit_head

    selected = photos_to_pair(splits, parameters)
    data = make_feature_set(block_features, products, selected)
    pairs = product_pairs(data, products)._replace(parts=head_parts(parameters))
    head, history = fit_head(pairs, parameters.embedding, parameters.seed)
    card = {
        "recipe": parameters.embedding.model_dump(mode="json"),
        "model": sha256(vision_model.read()),
    }
    content = save(network_weights(head), {"card": json.dumps(card, sort_keys=True)})
    return TrainedEmbedding(content, history)


def photos_to_pair(splits: pd.DataFrame, parameters: VisionParameters) -> pd.DataFrame:
    """Return the rows of photos of the training and validation splits.

    If there are more than ``max_photos``, groups are sampled, without those that would exceed it. Blocks of
    all photos of a large market would take gigabytes.
    """
    photos = splits[splits["split"].isin(["train", "validation"])].dropna(subset="image_id")
    sizes = photos["group"].value_counts(sort=False)
    room, sample = parameters.embedding.max_photos, []
    for group in sizes.index[sample_order(sizes.index.tolist(), parameters.seed)]:
        if sizes[group] <= room:
            room -= sizes[group]
            sample.append(group)
    return photos[photos["group"].isin(sample)]


def product_pairs(data: FeatureSet, products: pd.DataFrame) -> "Pairs":
    """Return the photos to pair; listings of one group share a photo or a description."""
    from fb_marketplace.pipelines.vision.training.metric_learning import Pairs

    path = products.set_index("product_id")["category_path"]
    return Pairs(
        data.features,
        _to_numbers(data.groups),
        _to_numbers(path.loc[data.product_ids.tolist()].to_numpy(dtype=np.str_)),
        np.flatnonzero(data.split == "train"),
        np.flatnonzero(data.split == "validation"),
    )


def embedding_layer(
    network: "Network", model: str, embedding_head: bytes, parameters: VisionParameters
) -> "Layer":
    """Return the layer that is served as the embedding.

    Args:
        network: the network.
        model: sha256 of its file.
        embedding_head: the trained head, safetensors; may be empty.
        parameters: name of the layer.

    Raises:
        UserError: the network has no such layer, or the head was trained on other features.
    """
    from fb_marketplace.pipelines.vision.models.embedding_head import Layer, make_second_backbone
    from fb_marketplace.pipelines.vision.training.checkpoints import read_metadata

    config = parameters.embedding
    if config.layer == METRIC and embedding_head:
        card = read_metadata(embedding_head, "card")
        recipe = card["recipe"]
        second, expected = _second_backbone(recipe), _second_backbone(config.model_dump())
        trained = (card["model"], recipe["num_blocks"], recipe["gem_p"], second)
        if trained != (model, config.num_blocks, config.gem_p, expected):
            raise UserError(
                f"embedding_head was trained on {trained[1]} blocks with gem_p {trained[2]} of the model "
                f"{trained[0][:12]} and the second backbone {second}; expected {config.num_blocks} blocks "
                f"with gem_p {config.gem_p} of {model[:12]} and {expected}. Rerun `kedro run "
                "--pipeline=vision`; it trains the head again, and the network only if its recipe has "
                "changed."
            )
    head = _load_head(embedding_head)
    second_backbone = make_second_backbone(parameters) if config.layer == METRIC else None
    return Layer(
        network, config.layer, head, config.num_blocks, config.gem_p, second_backbone
    ).eval()


def train_hidden_layer(
    block_features: Table,
    product_labels: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> bytes:
    """Train the original's head (Linear, ReLU, Linear) on the pooled features, for comparison.

    Args:
        block_features: the pooled blocks of every photo.
        product_labels: the listings whose category is a class.
        splits: split of each photo.
        vision_model: the network that computed the blocks.
        vision_labels: its classes.
        parameters: the recipe.

    Returns:
        The weights, safetensors; empty if the head of the network has a hidden layer itself.
    """
    import torch
    from safetensors.torch import save

    from fb_marketplace.pipelines.vision.models.network import load_trained_network

    network = load_trained_network(vision_model.read(), len(vision_labels), parameters)
    if isinstance(network.head.fc, torch.nn.Sequential):
        return b""
    pooled = layer_slices(network, parameters)[POOL]
    data = make_feature_set(block_features, product_labels, splits, columns=pooled)
    head, _ = train_head(data, parameters, ORIGINAL_WIDTH)
    return save(head.weights)


def embed_layers(
    block_features: Table,
    products: pd.DataFrame,
    splits: pd.DataFrame,
    vision_model: FileRef,
    hidden_layer: FileRef,
    vision_labels: list[str],
    parameters: VisionParameters,
) -> pd.DataFrame:
    """Embed validation and test photos by other layers of the network, for comparison.

    The layers are the blocks that the embedding head uses, and ``fc.1``: the hidden layer of the
    original's head.

    Args:
        block_features: the pooled blocks of every photo.
        products: the listings.
        splits: split of each photo.
        vision_model: the network that computed the blocks.
        hidden_layer: head with a hidden layer; may be empty, see :func:`train_hidden_layer`.
        vision_labels: classes of the network.
        parameters: the recipe.

    Returns:
        ``image_id``, ``layer`` and ``embedding``.
    """
    import torch
    from safetensors.torch import load

    from fb_marketplace.pipelines.vision.models.network import load_trained_network, make_head

    network = load_trained_network(vision_model.read(), len(vision_labels), parameters)
    head = network.head
    if weights := hidden_layer.read():
        head = make_head(parameters, len(vision_labels), hidden=ORIGINAL_WIDTH)
        head.load_state_dict(load(weights))
    evaluated = splits[splits["split"].isin(EVALUATION_SPLITS)]
    data = make_feature_set(block_features, products, evaluated)
    slices = layer_slices(network, parameters)
    layers = {block: data.features[:, columns] for block, columns in slices.items()}
    with torch.no_grad():
        layers[HIDDEN] = head.eval().embed(torch.from_numpy(layers[POOL])).numpy()
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "image_id": data.image_ids,
                    "layer": layer,
                    "embedding": list(_l2_normalize(vectors)),
                }
            )
            for layer, vectors in layers.items()
        ],
        ignore_index=True,
    )


def _second_backbone(recipe: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return name and side of the second backbone in the recipe of a head; None if it has none."""
    name = recipe.get("second_backbone")
    return (name, recipe["second_input_side"]) if name else None


def layer_slices(network: "Network", parameters: VisionParameters) -> dict[str, slice]:
    """Return the columns of each block of the network in the table ``block_features``."""
    from fb_marketplace.pipelines.vision.models.embedding_head import block_names, block_slices

    return block_slices(network, block_names(network, parameters.embedding.num_blocks))


def _load_head(embedding_head: bytes) -> "EmbeddingHead | JoinedHeads | None":
    if not embedding_head:
        return None
    from safetensors.torch import load

    from fb_marketplace.pipelines.vision.models.embedding_head import EmbeddingHead, JoinedHeads

    weights = load(embedding_head)
    dimension, width = weights["project.weight"].shape
    head: EmbeddingHead | JoinedHeads = EmbeddingHead(width, dimension)
    if "heads.0.project.weight" in weights:
        parts = range(width // dimension)
        widths = [weights[f"heads.{part}.project.weight"].shape[1] for part in parts]
        head = JoinedHeads(widths, dimension)
    head.load_state_dict(weights)
    return head.eval()


def _to_numbers(names: NDArray[np.str_]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _l2_normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalized: NDArray[np.float32] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return normalized
