"""Recall@10 of photos by titles with other recipes of the projection, on the validation groups.

Reads the outputs of `kedro run` in the lake of FB_LAKE. Each row has one change from conf/base. The gallery
is all photos of the validation groups. Differences are paired, with a bootstrap over groups. The ridges of
each row are selected on the same photos. Short titles are the first words of the titles.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from numpy.typing import NDArray

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.parameters.text import ProjectionParameters
from fb_marketplace.pipelines.text.cross_modal_projection import (
    Pairs,
    find_photos,
    make_pairs,
    project,
    select_projections,
)
from fb_marketplace.storage.vectors import StoredVectors, read_vectors
from fb_marketplace_serving.encoders.text import TextEncoder

PROJECT = Path(__file__).parents[2]
INPUTS = (
    *("sentence_encoder", "text_tokenizer", "text_embeddings", "vision_features"),
    *("block_features", "products", "splits", "params:projection"),
)
CHANGES: dict[str, dict[str, Any]] = {
    "as is": {},
    "frozen backbone, pooled, instead of all blocks": {"features": "vision_features"},
    "titles only": {"title_weight": 1.0},
    "titles, short titles and full texts alike": {"title_weight": 1 / 3},
    "128 directions": {"dimension": 128},
    "384 directions": {"dimension": 384},
    "power 0": {"correlation_power": 0.0},
    "power 1": {"correlation_power": 1.0},
}


def main() -> None:
    """Evaluate all rows, and print the table."""
    if "FB_LAKE" not in os.environ:
        raise SystemExit("FB_LAKE is not set; expected a lake in which `kedro run` has run")
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        run = {name: catalog.load(name) for name in INPUTS}
    parameters = ProjectionParameters.model_validate(run["params:projection"])
    encoder = TextEncoder.from_bytes(run["sentence_encoder"].read(), run["text_tokenizer"].read())
    texts = read_vectors(run["text_embeddings"], "product_id", "embedding")
    features = {
        name: StoredVectors(run[name], "image_id", "features")
        for name in ("vision_features", "block_features")
    }
    splits = run["splits"][run["splits"]["image_id"].isin(features["block_features"].ids)]
    train, validation = (
        make_pairs(encoder, texts, run["products"], splits, split, 50_000, 0)
        for split in ("train", "validation")
    )
    group_of = splits.drop_duplicates("image_id").set_index("image_id")["group"]
    groups = group_of.loc[[validation.image_ids[row] for row in validation.starts[:-1]]].to_numpy()
    print(f"\n{len(groups):,} titles, {len(validation.image_ids):,} photos\n")
    print("| projection | Recall@10 | difference | short titles | full texts |")
    print("|---|---|---|---|---|")
    first: NDArray[np.float64] | None = None
    for name, change in CHANGES.items():
        table = features[change.pop("features", "block_features")]
        recipe = parameters.model_copy(update=change)
        titles, *others = hits(train, validation, table, recipe)
        first = titles if first is None else first
        recall, gain = (
            mean_by_group(values, groups, 1000, 0.95, 0) for values in (titles, titles - first)
        )
        print(
            f"| {name} | {recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}] "
            f"| {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] "
            f"| {' | '.join(f'{other.mean():.3f}' for other in others)} |",
            flush=True,
        )


def hits(
    train: Pairs, validation: Pairs, features: StoredVectors, parameters: ProjectionParameters
) -> list[NDArray[np.float64]]:
    """Return for titles, short titles and full texts whether each finds a photo of its listing."""
    text, photo, _ = select_projections(train, validation, features, parameters)
    photos = project(photo, features.select(validation.image_ids))
    return [
        find_photos(project(text, validation.texts[:, form]), photos, validation).astype(np.float64)
        for form in range(validation.texts.shape[1])
    ]


if __name__ == "__main__":
    main()
