"""What the recipe of `vision` reaches over several training seeds, and what each step of it adds.

Trains with each seed in the lake of FB_LAKE, on the listings of FB_RAW (cleaning and baselines must have
run there), as `kedro run --pipeline=vision --params=vision.seed=N` does; a training that was done before
is taken up. A case counts by the share of the seeds that are right about it, so that the paired interval,
from a bootstrap over groups, speaks of the recipe and not of one lucky seed.

The yardstick is a linear layer on the frozen backbone; with text, once fused with the same text model as
ours, once in the plain way: TF-IDF of words with logistic regression, and the mean of both answers. What
fine-tuning adds is told beside the head that it begins with, which tells paths apart on that backbone.

Expected before it was measured, from earlier trials: photos 0.60, 2 points over the frozen backbone;
products 0.65; with text 0.88.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from scipy.special import softmax

from fb_marketplace.evaluation.bootstrap import mean_by_group
from fb_marketplace.evaluation.predictions import class_labels, predictions_for_split
from fb_marketplace.ml.probabilities import fit_temperature
from fb_marketplace.parameters.vision import EvaluationParameters, VisionParameters
from fb_marketplace.pipelines.vision.data.task import photos_with_labels
from fb_marketplace.pipelines.vision.evaluation.abstention import select_abstention
from fb_marketplace.pipelines.vision.evaluation.evaluate import evaluate_vision
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse, fuse_products
from fb_marketplace.pipelines.vision.models.network import load_trained_network
from fb_marketplace.pipelines.vision.training.linear_probe import (
    make_feature_set,
    predict,
    predictions_table,
    train_head,
)
from fb_marketplace.pipelines.vision.training.validation import read_logits

PROJECT = Path(__file__).parents[2]
SAMPLES, CONFIDENCE = 2000, 0.95
MADE = ("vision_model", "vision_labels", "frozen_predictions", "training_history")
READ = (
    *("images", "products", "splits", "vision_features", "category_text_probabilities"),
    *("params:vision", "params:vision_evaluation"),
)
Cases = pd.Series  # whether each case is right, by its id
HEADS: dict[str, dict[str, Any]] = {
    "as recommended": {},
    "the root categories alone": {"path_loss_weight": 0.0},
    "without label smoothing": {"label_smoothing": 0.0},
    "rare categories count more": {"class_weight_power": 0.5},
    "with the original's hidden layer": {"hidden": 1000},
}
STEPS: dict[str, tuple[str, ...]] = {
    "without mixup": ("fine_tuning.mixup=0",),
    "whole photos, not crops": (
        "fine_tuning.augmentation.min_scale=1.0",
        "fine_tuning.augmentation.max_aspect_ratio=1.0",
    ),
    "as recommended": (),
}
"""The last is what the lake has in the end."""


def main() -> None:
    """Train where it must be, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--heads", action="store_true", help="of the head alone: in a minute")
    parser.add_argument("--without", action="store_true", help="leave out steps of fine-tuning")
    told = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error("FB_LAKE does not say which lake; cleaning and baselines must have run there")
    if told.heads:
        heads(loaded("vision_features", "products", "splits", "params:vision"), told.seeds)
        return
    if told.without:
        for seed in told.seeds:
            without(seed)
        return
    # The first one last: what comes after in the lake is made of its network.
    runs = [trained(seed) for seed in reversed(told.seeds)][::-1]
    groups = groups_of(runs[0])
    ours = [right_of(run, run["vision_predictions"], run["product_predictions"]) for run in runs]
    frozen = [right_of_photos(run, run["frozen_predictions"]) for run in runs]
    print(f"\ntest split, mean of seeds {told.seeds}, 95 % intervals over groups")
    for name in ours[0]:
        compare(name, [each[name] for each in ours], [each[name] for each in frozen], groups)
    plain = [plain_text_fused(run) for run in runs]
    compare(
        "listings, with text, over the plain way", [e["with text"] for e in ours], plain, groups
    )
    print("\nthe same, beside the head that fine-tuning begins with")
    begun = [
        right_of_photos(run, head_alone(run, seed))
        for run, seed in zip(runs, told.seeds, strict=True)
    ]
    for name in ours[0]:
        compare(name, [each[name] for each in ours], [each[name] for each in begun], groups)
    steps(runs)
    heads(runs[0], told.seeds)


def trained(seed: int) -> dict[str, Any]:
    """Train with a seed, and answer as the pipeline does, by the network before it is exported.

    The graph that is served says the same to 1e-4, and is not made for each seed: that takes minutes.
    """
    train(f"seed={seed}")
    run = loaded(*MADE, *READ)
    told = VisionParameters.model_validate(run["params:vision"])
    measuring = EvaluationParameters.model_validate(run["params:vision_evaluation"])
    market = run["products"], run["splits"]
    run["vision_predictions"], calibration = answered(run, told)
    run["product_predictions"], run["fusion"] = fuse_products(
        run["vision_predictions"], run["category_text_probabilities"], *market
    )
    abstention = select_abstention(
        run["vision_predictions"], run["product_predictions"], run["products"], measuring
    )
    run["vision_metrics"] = evaluate_vision(
        run["vision_predictions"],
        run["frozen_predictions"],
        run["product_predictions"],
        *market,
        calibration,
        run["fusion"],
        abstention,
        measuring,
    )[0]
    return run


def train(*changes: str) -> None:
    """Train as `vision` does, with these parameters changed, unless that was done before."""
    words = ["run", "--pipeline=vision", f"--to-outputs={','.join(MADE)}"]
    words += [f"--params={','.join(f'vision.{change}' for change in changes)}"]
    subprocess.run([Path(sys.executable).with_name("kedro"), *words], cwd=PROJECT, check=True)


def loaded(*names: str) -> dict[str, Any]:
    """Load the latest of datasets."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in names}


def answered(run: dict[str, Any], told: VisionParameters) -> tuple[pd.DataFrame, dict[str, float]]:
    """Ask the trained network about validation and test; calibrated on validation, as it is exported."""
    labels = run["vision_labels"]
    network = load_trained_network(run["vision_model"].read(), len(labels), told)
    listed = photos_with_labels(run["images"], run["products"], run["splits"])
    photos = listed[listed["split"] != "train"]
    exact = told.fine_tuning.model_copy(update={"precision": "fp32"})
    logits = read_logits(network, run["images"], photos["row"].to_numpy(np.int64), exact)
    choosing = (photos["split"] == "validation").to_numpy()
    classes = np.asarray([labels.index(each) for each in photos["category"]], np.int64)
    temperature = fit_temperature(logits[choosing], classes[choosing])
    columns = ["image_id", "product_id", "group", "split", "category"]
    said = list(softmax(logits / temperature, axis=1))
    calibration = {"temperature": temperature, "photos": int(choosing.sum())}
    return photos[columns].assign(probabilities=said).reset_index(drop=True), calibration


def right_of(run: dict[str, Any], photos: pd.DataFrame, listings: pd.DataFrame) -> dict[str, Cases]:
    """Say of each photo and listing of the test split whether it is right."""
    labels = class_labels(run["products"])
    return {
        "photos": cases(photos.sort_values("image_id"), "image_id", "probabilities", labels),
        "listings, photos alone": cases(listings, "product_id", "by_photos", labels),
        "with text": cases(listings, "product_id", "probabilities", labels),
    }


def right_of_photos(run: dict[str, Any], photos: pd.DataFrame) -> dict[str, Cases]:
    """Say it of other answers to photos, fused with the same text, weighed anew on validation."""
    labels = class_labels(run["products"])
    shares = np.asarray([run["fusion"]["prior"][label] for label in labels])
    return right_of(run, photos, fuse(run["product_predictions"], photos, labels, shares)[0])


def head_alone(run: dict[str, Any], seed: int) -> pd.DataFrame:
    """Answer by the head that fine-tuning begins with, on the cached features of the frozen backbone."""
    told = VisionParameters.model_validate(run["params:vision"]).model_copy(update={"seed": seed})
    found = make_feature_set(run["vision_features"], run["products"], run["splits"], told)
    head, _ = train_head(found, told)
    asked = found.split != "train"
    return predictions_table(found, predict(head, found.features[asked], told), asked)


def plain_text_fused(run: dict[str, Any]) -> Cases:
    """Fuse the frozen backbone with plain TF-IDF and logistic regression, by the mean of both."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels = class_labels(run["products"])
    where = run["splits"].drop_duplicates("product_id")[["product_id", "group", "split"]]
    listed = run["products"].merge(where, on="product_id")
    listed["words"] = listed["title"] + " " + listed["description"]
    learnt, asked = listed[listed["split"] == "train"], listed[listed["split"] == "test"]
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(C=10, max_iter=1000)
    )
    model.fit(learnt["words"], learnt["category"])
    text = pd.DataFrame(model.predict_proba(asked["words"]), asked["product_id"], model.classes_)
    photos = run["frozen_predictions"]
    photos = photos[photos["split"] == "test"]
    seen = pd.DataFrame(np.stack(photos["probabilities"]), columns=list(labels))
    means = seen.groupby(photos["product_id"].to_numpy()).mean()
    text = text.reindex(columns=list(labels), fill_value=0.0)
    both = text.add(means.reindex(text.index).fillna(text))
    return both.idxmax(axis=1) == asked.set_index("product_id")["category"]


def cases(predictions: pd.DataFrame, by: str, column: str, labels: tuple[str, ...]) -> Cases:
    """Say of each case of the test split whether it is right, by its id."""
    asked = (predictions["split"] == "test") & predictions[column].notna()
    return pd.Series(
        predictions_for_split(predictions, "test", labels, column).correct,
        predictions.loc[asked, by],
    )


def groups_of(run: dict[str, Any]) -> dict[str, str]:
    """Give the group of each photo and of each listing."""
    splits = run["splits"]
    photos = splits.dropna(subset="image_id")
    return dict(zip(photos["image_id"], photos["group"], strict=True)) | dict(
        zip(splits["product_id"], splits["group"], strict=True)
    )


def compare(name: str, ours: list[Cases], others: list[Cases], groups: dict[str, str]) -> None:
    """Print the means over seeds, and the paired difference with its interval."""
    mine = pd.concat(ours, axis=1).astype(float).mean(axis=1)
    theirs = pd.concat(others, axis=1).astype(float).mean(axis=1).reindex(mine.index)
    drawn = [groups[each] for each in mine.index]
    told = SAMPLES, CONFIDENCE, 0
    one, two, gain = (
        mean_by_group(values, drawn, *told) for values in (mine, theirs, mine - theirs)
    )
    print(
        f"{name:42} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] of {one.cases:,}   "
        f"beside {two.value:.3f}   gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]   "
        f"seeds {' '.join(f'{each.mean():.3f}' for each in ours)}",
        flush=True,
    )


def steps(runs: list[dict[str, Any]]) -> None:
    """Print how validation rises from epoch to epoch, and the calibration and coverage of each seed."""
    print(
        "\nvalidation, by epoch of fine-tuning (0: the head alone), then blends by share of the last"
    )
    for place, run in enumerate(runs):
        print(f"  run {place}: {rise(run['training_history'])}")
    print("\ntest, by run: calibration error of photos; what is answered with text, and its error")
    for place, run in enumerate(runs):
        test = run["vision_metrics"]["test"]
        ece, answered = test["photos_ece"], test["abstention"]["products_with_text"]
        print(
            f"  run {place}: {ece['value']:.3f} [{ece['low']:.3f}, {ece['high']:.3f}]; "
            f"{answered['coverage']['value']:.3f}, {(answered['error'] or {}).get('value')}"
        )


def without(seed: int) -> None:
    """Print what validation says of trainings in which one step is left out."""
    print(f"\nvalidation, seed {seed}, by epoch of fine-tuning, then blends by share of the last")
    for name, changes in STEPS.items():
        train(f"seed={seed}", *changes)
        print(f"  {name:36} {rise(loaded('training_history')['training_history'])}", flush=True)


def rise(history: list[dict[str, Any]]) -> str:
    """Say how often each epoch and each blend of a training was right on validation."""
    epochs = [each for each in history if each["stage"] == "fine_tuning"]
    mixed = [each for each in history if each["stage"] == "interpolation"]
    right = " ".join(f"{each['validation_accuracy']:.3f}" for each in epochs)
    by_share = (f"{each['share']}: {each['validation_accuracy']:.3f}" for each in mixed)
    return f"{right}; {', '.join(by_share)}"


def heads(run: dict[str, Any], seeds: list[int]) -> None:
    """Print what choices about the head do, on the cached features of the frozen backbone."""
    print(
        "\nvalidation, head alone on the frozen backbone: right, and cross-entropy; mean of seeds"
    )
    told = VisionParameters.model_validate(run["params:vision"])
    for name, change in HEADS.items():
        update = dict(change)
        hidden = update.pop("hidden", None)
        best = []
        for seed in seeds:
            recipe = told.model_copy(update={**update, "seed": seed})
            found = make_feature_set(run["vision_features"], run["products"], run["splits"], recipe)
            _, history = train_head(found, recipe, hidden)
            best.append(max(history, key=lambda epoch: epoch["validation_accuracy"]))
        right, loss = (
            np.mean([epoch[of] for epoch in best])
            for of in ("validation_accuracy", "validation_loss")
        )
        print(f"  {name:36} {right:.3f}  {loss:.3f}")


if __name__ == "__main__":
    main()
