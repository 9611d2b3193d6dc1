"""Which layer and which loss find another photo of a listing, on the validation groups.

Reads what `kedro run --pipeline=vision` left in the lake of FB_LAKE. Heads are trained anew, each with one
thing changed from conf/base, on the pooled levels that the run made; other powers of the mean and other
levels are made here, some minutes each. The gallery is all photos of the validation groups; a photo's
copies are left out of it. Differences are from the pooled features of the trained network, paired, with a
bootstrap over groups. The best epoch of a head is chosen on the same photos, in all rows alike.

Expected before it was measured: the head 5 points over the pooled features; contrastive and
multi-similarity within a point of each other, triplet behind; more levels better, power 3 better than 1.
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
from fb_marketplace.ml.batch_inference import encode_rows, open_encoder
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.indexing.comparison_embeddings import (
    embeddings_from_layers,
    embeddings_from_table,
    l2_normalize,
)
from fb_marketplace.pipelines.indexing.exact_ranking import rank_all
from fb_marketplace.pipelines.indexing.gallery import Gallery, make_gallery
from fb_marketplace.pipelines.vision.export.backbone_features import PHOTOS_PER_BATCH
from fb_marketplace.pipelines.vision.export.onnx_export import export_blocks
from fb_marketplace.pipelines.vision.models.network import load_trained_network
from fb_marketplace.pipelines.vision.training.linear_probe import FeatureSet, make_feature_set
from fb_marketplace.pipelines.vision.training.metric_learning import fit_head
from fb_marketplace.pipelines.vision.training.train_embedding import product_pairs

PROJECT = Path(__file__).parents[2]
SPLIT = "validation"
SAMPLES, CONFIDENCE = 1000, 0.95
FIRST, *_, TENTH = RECALLS
INPUTS = (
    *("images", "products", "splits", "duplicate_groups", "vision_features", "block_features"),
    *("layer_embeddings", "vision_model", "vision_labels", "params:vision"),
)
Vectors = NDArray[np.float32]
Measured = dict[str, NDArray[np.float64]]
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
    {"num_blocks": 1},
    {"num_blocks": 2},
    {"num_blocks": 3},
)
REMADE: tuple[Change, ...] = ({"gem_p": 3.0}, {"num_blocks": 7})
"""Changes that need the levels of every photo once more."""


def main() -> None:
    """Measure one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kept-levels", action="store_true", help="leave out what takes minutes")
    told = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error(
            "FB_LAKE does not say which lake; `kedro run --pipeline=vision` must have run there"
        )
    run = loaded()
    parameters = VisionParameters.model_validate(run["params:vision"])
    photos = run["splits"]["image_id"].dropna().sort_values()
    gallery = make_gallery(photos, run["products"], run["splits"], run["duplicate_groups"]).among(
        SPLIT
    )
    pooled = measures(
        embeddings_from_layers(run["layer_embeddings"], ids_of(gallery))["layer_pool"], gallery
    )
    asked = int((~np.isnan(pooled[FIRST])).sum())
    print(f"\n{SPLIT}: {asked:,} queries with a partner, in a gallery of {len(gallery):,} photos\n")
    print("| layer, or what is changed of the head | size | R@1 | over `pool` | R@10 | NDCG@10 |")
    print("|---|---|---|---|---|---|")
    frozen = embeddings_from_table(run["vision_features"], ids_of(gallery), "features", "vision")
    row("frozen backbone, pooled", frozen, pooled, gallery)
    for name, vectors in embeddings_from_layers(run["layer_embeddings"], ids_of(gallery)).items():
        row(f"`{name.removeprefix('layer_')}`", vectors, pooled, gallery)
    found = make_feature_set(run["block_features"], run["products"], run["splits"])
    for change in CHANGES:
        row(title(change), head_of(run, found, parameters, change, gallery), pooled, gallery)
    for change in () if told.kept_levels else REMADE:
        made = found._replace(features=levels_of(run, found, changed(parameters, change)))
        row(title(change), head_of(run, made, parameters, change, gallery), pooled, gallery)


def loaded() -> dict[str, Any]:
    """Load what the last run of `vision` made."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in INPUTS}


def changed(parameters: VisionParameters, change: Change) -> VisionParameters:
    """Change the recipe of the head."""
    return parameters.model_copy(
        update={"embedding": parameters.embedding.model_copy(update=change)}
    )


def title(change: Change) -> str:
    """Name a row of the table."""
    return "head: " + (", ".join(f"{name} {value}" for name, value in change.items()) or "as is")


def head_of(
    run: dict[str, Any],
    found: FeatureSet,
    parameters: VisionParameters,
    change: Change,
    gallery: Gallery,
) -> Vectors:
    """Train a head with something changed, and embed the gallery's photos by it."""
    told = changed(parameters, change).embedding
    features = found.features
    if told.num_blocks < parameters.embedding.num_blocks:
        features = features[:, -sum(widths_of(run)[-told.num_blocks :]) :]
    pairs = product_pairs(found._replace(features=features), run["products"])
    head, _ = fit_head(pairs, told, parameters.seed)
    places = {image_id: place for place, image_id in enumerate(found.image_ids)}
    with torch.no_grad():
        levels = torch.from_numpy(features[[places[each] for each in ids_of(gallery)]])
        vectors: Vectors = head(levels).numpy()
    return vectors


def widths_of(run: dict[str, Any]) -> list[int]:
    """Say how many features each of the levels has."""
    table = run["layer_embeddings"].groupby("layer", sort=False)["embedding"].first()
    return [len(table[level]) for level in table.index if level != "fc.1"]


def levels_of(run: dict[str, Any], found: FeatureSet, parameters: VisionParameters) -> Vectors:
    """Pool the levels of all photos in another way, in the order of the examples."""
    network = load_trained_network(
        run["vision_model"].read(), len(run["vision_labels"]), parameters
    )
    told = parameters.embedding
    encoder = open_encoder(export_blocks(network, told.num_blocks, told.gem_p))
    image_ids = run["images"].read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(image_ids)}
    asked = [rows[image_id] for image_id in found.image_ids]
    encoded = encode_rows(encoder, run["images"], asked, PHOTOS_PER_BATCH)
    return np.concatenate([encoding.embeddings for _, encoding in encoded])


def ids_of(gallery: Gallery) -> list[str]:
    """Name the photos of a gallery."""
    names: list[str] = gallery.photos["image_id"].to_list()
    return names


def measures(vectors: Vectors, gallery: Gallery) -> Measured:
    """Ask the gallery for each of its photos."""
    return compute_retrieval_metrics(rank_all(l2_normalize(vectors), gallery))


def row(name: str, vectors: Vectors, pooled: Measured, gallery: Gallery) -> None:
    """Print a row of the table."""
    found, groups = measures(vectors, gallery), gallery.photos["group"].to_numpy()
    asked = ~np.isnan(found[FIRST])
    first, gain = (
        mean_by_group(values[asked], groups[asked], SAMPLES, CONFIDENCE, 0)
        for values in (found[FIRST], found[FIRST] - pooled[FIRST])
    )
    print(
        f"| {name} | {vectors.shape[1]} | {first.value:.3f} [{first.low:.3f}, {first.high:.3f}] "
        f"| {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] | {np.nanmean(found[TENTH]):.3f} "
        f"| {np.nanmean(found[NDCG]):.3f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
