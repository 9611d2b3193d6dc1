"""Recall@1 of embedding layers and losses, on the validation groups.

Reads the outputs of `kedro run --pipeline=vision` in the lake of FB_LAKE. Heads are trained here, each with
one change from conf/base, on the run's block features; another pooling exponent or other blocks take some
minutes each. The gallery is all photos of the validation groups, without copies of the query. Differences
are to the pooled features of the trained network, paired, with a bootstrap over groups. The best epoch of
each head is chosen on the same photos.

Expected before the first run: the head 5 points over the pooled features; contrastive and multi-similarity
within a point of each other, triplet behind; more blocks better, exponent 3 better than 1. Heads of early
and late blocks were not expected to differ from one head on all.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.retrieval_metrics import NDCG, RECALLS, compute_retrieval_metrics
from fb_marketplace.ml.batch_inference import encode_rows
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import (
    embeddings_from_layers,
    embeddings_from_table,
    l2_normalize,
)
from fb_marketplace.pipelines.indexing.exact_ranking import rank_all
from fb_marketplace.pipelines.indexing.gallery import Gallery, make_gallery
from fb_marketplace.pipelines.vision.export.onnx_export import export_blocks
from fb_marketplace.pipelines.vision.models.embedding_head import head_parts, make_second_backbone
from fb_marketplace.pipelines.vision.models.network import load_trained_network
from fb_marketplace.pipelines.vision.training.linear_probe import FeatureSet, make_feature_set
from fb_marketplace.pipelines.vision.training.metric_learning import fit_head
from fb_marketplace.pipelines.vision.training.train_embedding import embed_layers, product_pairs

PROJECT = Path(__file__).parents[2]
SPLIT = "validation"
SAMPLES, CONFIDENCE = 1000, 0.95
FIRST, *_, TENTH = RECALLS
INPUTS = (
    *("images", "products", "splits", "duplicate_groups", "vision_features", "block_features"),
    *("hidden_layer", "vision_model", "vision_labels", "params:vision"),
)
Vectors = NDArray[np.float32]
Metrics = dict[str, NDArray[np.float64]]
Change = dict[str, Any]
CHANGES: tuple[Change, ...] = (
    {},
    {"temperature": 0.05},
    {"temperature": 0.2},
    {"loss": "multi_similarity"},
    {"loss": "triplet"},
    {"path_loss_weight": 0.2},
    {"hard_batch_fraction": 0.5},
    {"path_loss_weight": 0.2, "hard_batch_fraction": 0.5},
    {"dropout": 0.2},
    {"dimension": 64},
    {"dimension": 128},
    {"dimension": 512},
    {"num_blocks": 3},
    {"second_backbone": None},
    {"second_backbone": None, "late_blocks": 0},
    {"late_blocks": 0},
    {"late_weight": 0.0},
    {"late_weight": 0.1},
    {"late_weight": 0.3},
    {"late_weight": 0.5},
)
RECOMPUTED: tuple[Change, ...] = ({"gem_p": 3.0}, {"num_blocks": 7})
"""Changes that need other features of every photo."""


def main() -> None:
    """Evaluate all rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cached-blocks", action="store_true", help="skip rows that take minutes")
    parser.add_argument(
        "--seeds", type=int, default=1, help="heads per row; metrics are their mean"
    )
    args = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error(
            "FB_LAKE is not set; expected a lake in which `kedro run --pipeline=vision` has run"
        )
    run = loaded()
    parameters = VisionParameters.model_validate(run["params:vision"])
    inputs = (
        "block_features",
        "products",
        "splits",
        "vision_model",
        "hidden_layer",
        "vision_labels",
    )
    run["layer_embeddings"] = embed_layers(*(run[name] for name in inputs), parameters)
    photos = run["splits"]["image_id"].dropna().sort_values()
    gallery = make_gallery(photos, run["products"], run["splits"], run["duplicate_groups"]).among(
        SPLIT
    )
    pooled = metrics_of(
        dict(embeddings_from_layers(run["layer_embeddings"], ids_of(gallery)))["layer_pool"],
        gallery,
    )
    queries = int((~np.isnan(pooled[FIRST])).sum())
    print(
        f"\n{SPLIT}: {queries:,} queries with a partner, in a gallery of {len(gallery):,} photos\n"
    )
    print("| layer, or change of the head | size | R@1 | over `pool` | R@10 | NDCG@10 |")
    print("|---|---|---|---|---|---|")
    frozen = embeddings_from_table(run["vision_features"], ids_of(gallery), "features", "vision")
    row("frozen backbone, pooled", [frozen], pooled, gallery)
    for name, vectors in embeddings_from_layers(run["layer_embeddings"], ids_of(gallery)):
        row(f"`{name.removeprefix('layer_')}`", [vectors], pooled, gallery)
    data = make_feature_set(run["block_features"], run["products"], run["splits"])
    run["features"] = data.features
    recipes = [parameters.model_copy(update={"seed": seed}) for seed in range(args.seeds)]
    for change in CHANGES:
        heads = [head_of(run, data, recipe, change, gallery) for recipe in recipes]
        row(title(change), heads, pooled, gallery)
    for change in () if args.cached_blocks else RECOMPUTED:
        features = features_of(run, data, changed(parameters, change))
        recomputed = data._replace(features=features)
        heads = [head_of(run, recomputed, recipe, change, gallery) for recipe in recipes]
        row(title(change), heads, pooled, gallery)


def loaded() -> dict[str, Any]:
    """Load the outputs of the last vision run."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in INPUTS}


def changed(parameters: VisionParameters, change: Change) -> VisionParameters:
    """Return the recipe with a change of the head."""
    return parameters.model_copy(
        update={"embedding": parameters.embedding.model_copy(update=change)}
    )


def title(change: Change) -> str:
    """Return the name of a row."""
    return "head: " + (", ".join(f"{name} {value}" for name, value in change.items()) or "as is")


def head_of(
    run: dict[str, Any],
    data: FeatureSet,
    parameters: VisionParameters,
    change: Change,
    gallery: Gallery,
) -> Vectors:
    """Train a head with a change, and embed the photos of the gallery."""
    recipe = changed(parameters, change)
    features = data.features
    if {"num_blocks", "second_backbone"} & change.keys() and features is run["features"]:
        features = features[:, columns_of(parameters, recipe)]
    pairs = product_pairs(data._replace(features=features), run["products"])
    pairs = pairs._replace(parts=head_parts(recipe))
    head, _ = fit_head(pairs, recipe.embedding, parameters.seed)
    rows = {image_id: row for row, image_id in enumerate(data.image_ids)}
    with torch.no_grad():
        pooled = torch.from_numpy(features[[rows[image_id] for image_id in ids_of(gallery)]])
        vectors: Vectors = head(pooled).numpy()
    return vectors


def columns_of(parameters: VisionParameters, recipe: VisionParameters) -> NDArray[np.int64]:
    """Return the columns of the block features that a recipe with fewer blocks or backbones reads."""
    first, both = width_of(changed(parameters, {"second_backbone": None})), width_of(parameters)
    used = width_of(changed(recipe, {"second_backbone": None}))
    columns = [np.arange(first - used, first)]
    if recipe.embedding.second_backbone:
        columns.append(np.arange(both - (width_of(recipe) - used), both))
    return np.concatenate(columns)


def width_of(parameters: VisionParameters) -> int:
    """Return the number of block features of a recipe."""
    return sum(part.width for part in head_parts(parameters))


def features_of(run: dict[str, Any], data: FeatureSet, parameters: VisionParameters) -> Vectors:
    """Compute the pooled blocks of all photos, in the order of the data."""
    network = load_trained_network(
        run["vision_model"].read(), len(run["vision_labels"]), parameters
    )
    config = parameters.embedding
    second = make_second_backbone(parameters)
    graph = export_blocks(network, config.num_blocks, config.gem_p, second)
    image_ids = run["images"].read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    selected = [rows[image_id] for image_id in data.image_ids]
    return encode_rows(graph, run["images"], selected).embeddings


def ids_of(gallery: Gallery) -> list[str]:
    """Return the photo ids of a gallery."""
    ids: list[str] = gallery.photos["image_id"].to_list()
    return ids


def metrics_of(vectors: Vectors, gallery: Gallery) -> Metrics:
    """Query the gallery with each of its photos."""
    return compute_retrieval_metrics(rank_all(l2_normalize(vectors), gallery))


def row(name: str, vectors: list[Vectors], pooled: Metrics, gallery: Gallery) -> None:
    """Print a row of the table: the mean over the vectors of several seeds."""
    by_seed = [metrics_of(one, gallery) for one in vectors]
    metrics = {name: np.mean([one[name] for one in by_seed], axis=0) for name in by_seed[0]}
    groups = gallery.photos["group"].to_numpy()
    queries = ~np.isnan(metrics[FIRST])
    first, gain = (
        mean_by_group(values[queries], groups[queries], SAMPLES, CONFIDENCE, 0)
        for values in (metrics[FIRST], metrics[FIRST] - pooled[FIRST])
    )
    print(
        f"| {name} | {vectors[0].shape[1]} | {first.value:.3f} [{first.low:.3f}, {first.high:.3f}] "
        f"| {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] | {np.nanmean(metrics[TENTH]):.3f} "
        f"| {np.nanmean(metrics[NDCG]):.3f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
