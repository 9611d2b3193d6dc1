"""Accuracy of categories on validation over the number of training groups, and its gain per doubling.

Reads the lake of FB_LAKE (`kedro run --pipeline=vision` must have run there). With each share of the
training groups and each seed, it trains the photo head on features of the frozen backbone and the text
model, and fuses them, as the pipelines do. Groups, the head and its order of batches depend on the seed.
The test split is not read. Takes ten minutes on one core.

The gain per doubling says what more listings would bring, and so how much of the error is due to their
number.
"""

import argparse
import os
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from recipe import loaded

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.predictions import class_labels, predictions_for_split
from fb_marketplace.ml.probabilities import fit_temperature, softmax
from fb_marketplace.parameters.baselines import BaselineParameters
from fb_marketplace.parameters.vision import VisionParameters
from fb_marketplace.pipelines.baselines.text_classifier import predict_text, select_text_classifier
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse
from fb_marketplace.pipelines.vision.training.linear_probe import (
    make_feature_set,
    predict,
    predictions_table,
    train_head,
)
from fb_marketplace.storage.vectors import read_vectors

SHARES = (0.125, 0.25, 0.5, 1.0)
INPUTS = (
    *("products", "product_labels", "splits", "vision_features", "text_embeddings"),
    *("category_choices", "params:vision", "params:baselines"),
)
SAMPLES, CONFIDENCE = 2000, 0.95
Cases = dict[str, "pd.Series[float]"]


def main() -> None:
    """Print the accuracies by share, and the gain of the last doubling."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    args = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error("FB_LAKE is not set; expected a lake in which the vision pipeline has run")
    run = loaded(*INPUTS)
    run["splits"] = run["splits"][run["splits"]["split"] != "test"]
    listings = run["splits"].drop_duplicates("product_id")
    groups = listings.set_index("product_id")["group"]
    photos = run["splits"].dropna(subset="image_id").set_index("image_id")["group"]
    groups_and_photos = pd.concat([groups, photos])
    curve: list[Cases] = []
    print(f"validation, mean of seeds {args.seeds}: share of the training groups, accuracies")
    for share in args.shares:
        seeds = [evaluate(run, share, seed) for seed in args.seeds]
        curve.append(
            {
                name: pd.concat([one[name] for one in seeds], axis=1).mean(axis=1)
                for name in seeds[0]
            }
        )
        accuracies = (f"{name} {cases.mean():.3f}" for name, cases in curve[-1].items())
        print(f"  {share:6.1%}  {', '.join(accuracies)}", flush=True)
    for before, after, share in zip(curve, curve[1:], args.shares[1:], strict=False):
        print(f"  gain of {share:.1%} over the share before:")
        for name, cases in after.items():
            gain = cases - before[name].reindex(cases.index)
            case_groups = groups_and_photos.loc[cases.index].to_numpy()
            estimate = mean_by_group(gain, case_groups, SAMPLES, CONFIDENCE, 0)
            print(f"    {name}: {estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]")


def evaluate(run: dict[str, Any], share: float, seed: int) -> Cases:
    """Train on a share of the training groups; return whether each validation case is correct."""
    labels = class_labels(run["product_labels"])
    splits = sample_groups(run["splits"], share, seed)
    photos = predict_photos(run, splits, seed)
    text = predict_texts(run, splits, labels)
    training = run["product_labels"].merge(splits[splits["split"] == "train"], on="product_id")
    counts = training.drop_duplicates("product_id")["category"].value_counts()
    shares = counts.reindex(list(labels), fill_value=0).to_numpy(np.float64) + 1
    fused, _ = fuse(text, photos, labels, shares / shares.sum())
    columns = {
        "photos": (photos, "image_id", "probabilities"),
        "listings by photos": (fused, "product_id", "by_photos"),
        "by text": (fused, "product_id", "by_text"),
        "with text": (fused, "product_id", "probabilities"),
    }
    return {
        name: pd.Series(
            predictions_for_split(table, "validation", labels, column).correct.astype(float),
            table.loc[table[column].notna(), key],
        )
        for name, (table, key, column) in columns.items()
    }


def sample_groups(splits: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Return the validation split and a share of the training groups."""
    groups: NDArray[Any] = splits.loc[splits["split"] == "train", "group"].unique()
    count = round(len(groups) * share)
    selected = np.random.default_rng(seed).choice(groups, count, replace=False)
    return splits[(splits["split"] == "validation") | splits["group"].isin(selected)]


def predict_photos(run: dict[str, Any], splits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Train the photo head, and predict the validation photos."""
    parameters = VisionParameters.model_validate(run["params:vision"])
    recipe = parameters.model_copy(update={"seed": seed})
    data = make_feature_set(run["vision_features"], run["product_labels"], splits, recipe)
    head, _ = train_head(data, recipe)
    selected = data.split == "validation"
    logits = predict(head, data.features[selected], recipe)
    scaled = np.log(softmax(logits / fit_temperature(logits, data.classes[selected])))
    return predictions_table(data, scaled.astype(np.float32), selected)


def predict_texts(
    run: dict[str, Any], splits: pd.DataFrame, labels: tuple[str, ...]
) -> pd.DataFrame:
    """Train the text model, and predict the validation listings; returns the input of the fusion."""
    recipe = BaselineParameters.model_validate(run["params:baselines"])
    # The strength that the pipeline selected; other settings take no time.
    strength = run["category_choices"]["settings"]["strength"]
    category = recipe.category.model_copy(update={"text_C_grid": (strength,)})
    recipe = recipe.model_copy(update={"category": category})
    products = run["products"].merge(run["product_labels"][["product_id"]], on="product_id")
    membership = splits.drop_duplicates("product_id")[["product_id", "group", "split"]]
    listed = products.merge(membership, on="product_id").sort_values("product_id")
    vectors = read_vectors(
        run["text_embeddings"], "product_id", "embedding", set(listed["product_id"])
    )
    model, _ = select_text_classifier(listed, labels, vectors, recipe)
    validation = listed[listed["split"] == "validation"].reset_index(drop=True)
    rows = validation[["product_id", "group", "split", "category"]]
    return rows.assign(by_text=list(predict_text(model, validation, vectors)))


if __name__ == "__main__":
    main()
