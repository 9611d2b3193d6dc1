"""Accuracy of the vision recipe over several training seeds, and the gain of its steps.

Trains with each seed in the lake of FB_LAKE, on the listings of FB_RAW (cleaning and baselines must have
run there), as `kedro run --pipeline=vision --params=vision.seed=N`; a completed training is reused. A case
counts by the share of seeds with a correct prediction, so that the paired interval, from a bootstrap over
groups, is of the recipe and not of one lucky seed.

The baseline is a linear layer on the frozen backbone; with text, fused with the same text model, and with a
simpler one: TF-IDF with logistic regression, and the mean of both probabilities. The gain of fine-tuning is
compared with the linear probe with category paths, from which it starts.

Expected before the first run, from earlier trials: photos 0.60, 2 points over the frozen backbone; listings
0.65; with text 0.88.
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
OUTPUTS = ("vision_model", "vision_labels", "frozen_predictions", "training_history")
INPUTS = (
    *("images", "products", "splits", "vision_features", "category_text_probabilities"),
    *("params:vision", "params:vision_evaluation"),
)
Cases = pd.Series  # whether a case is correct, by its id
HEADS: dict[str, dict[str, Any]] = {
    "as recommended": {},
    "root categories only": {"path_loss_weight": 0.0},
    "without label smoothing": {"label_smoothing": 0.0},
    "class weights": {"class_weight_power": 0.5},
    "with the original's hidden layer": {"hidden": 1000},
}
FINE_TUNING = "fine_tuning.epochs=4"
STEPS: dict[str, tuple[str, ...]] = {
    "without mixup": (FINE_TUNING, "fine_tuning.mixup=0"),
    "without crops": (
        FINE_TUNING,
        "fine_tuning.augmentation.min_scale=1.0",
        "fine_tuning.augmentation.max_aspect_ratio=1.0",
    ),
    "all steps": (FINE_TUNING,),
}
"""The last one stays in the lake."""


def main() -> None:
    """Train if necessary, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--heads", action="store_true", help="only the linear probe: a minute")
    parser.add_argument("--without", action="store_true", help="train without steps of the recipe")
    args = parser.parse_args()
    if "FB_LAKE" not in os.environ:
        parser.error("FB_LAKE is not set; expected a lake in which cleaning and baselines have run")
    if args.heads:
        heads(loaded("vision_features", "products", "splits", "params:vision"), args.seeds)
        return
    if args.without:
        for seed in args.seeds:
            without(seed)
        return
    # In reverse, so that the network of the first seed stays in the lake.
    runs = [trained(seed) for seed in reversed(args.seeds)][::-1]
    groups = groups_of(runs[0])
    ours = [
        correct_cases(run, run["vision_predictions"], run["product_predictions"]) for run in runs
    ]
    frozen = [correct_of_photos(run, run["frozen_predictions"]) for run in runs]
    print(f"\ntest split, mean of seeds {args.seeds}, 95 % intervals over groups")
    for name in ours[0]:
        compare(name, [cases[name] for cases in ours], [cases[name] for cases in frozen], groups)
    simple = [simple_fusion(run) for run in runs]
    with_text = [cases["with text"] for cases in ours]
    compare("listings, with text, over the simple model", with_text, simple, groups)
    print("\nthe same, compared with the linear probe that fine-tuning starts from")
    probes = [
        correct_of_photos(run, linear_probe(run, seed))
        for run, seed in zip(runs, args.seeds, strict=True)
    ]
    for name in ours[0]:
        compare(name, [cases[name] for cases in ours], [cases[name] for cases in probes], groups)
    steps(runs)
    heads(runs[0], args.seeds)


def trained(seed: int) -> dict[str, Any]:
    """Fine-tune with a seed, and predict with the network before export.

    The exported encoder gives the same probabilities to 1e-4, but takes minutes for each seed.
    """
    train(FINE_TUNING, f"seed={seed}")
    run = loaded(*OUTPUTS, *INPUTS)
    parameters = VisionParameters.model_validate(run["params:vision"])
    evaluation = EvaluationParameters.model_validate(run["params:vision_evaluation"])
    listings = run["products"], run["splits"]
    run["vision_predictions"], calibration = predicted(run, parameters)
    run["product_predictions"], run["fusion"] = fuse_products(
        run["vision_predictions"], run["category_text_probabilities"], *listings
    )
    abstention = select_abstention(
        run["vision_predictions"], run["product_predictions"], run["products"], evaluation
    )
    run["vision_metrics"] = evaluate_vision(
        run["vision_predictions"],
        run["frozen_predictions"],
        run["product_predictions"],
        *listings,
        calibration,
        run["fusion"],
        abstention,
        evaluation,
    )[0]
    return run


def train(*changes: str) -> None:
    """Run the training of the vision pipeline with changed parameters, unless it is done already."""
    words = ["run", "--pipeline=vision", f"--to-outputs={','.join(OUTPUTS)}"]
    words += [f"--params={','.join(f'vision.{change}' for change in changes)}"]
    subprocess.run([Path(sys.executable).with_name("kedro"), *words], cwd=PROJECT, check=True)


def loaded(*names: str) -> dict[str, Any]:
    """Load the latest versions of datasets."""
    bootstrap_project(PROJECT)
    with KedroSession.create(PROJECT) as session:
        catalog = session.load_context().catalog
        return {name: catalog.load(name) for name in names}


def predicted(
    run: dict[str, Any], parameters: VisionParameters
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Predict validation and test photos, calibrated on validation as in the export."""
    labels = run["vision_labels"]
    network = load_trained_network(run["vision_model"].read(), len(labels), parameters)
    listed = photos_with_labels(run["images"], run["products"], run["splits"])
    photos = listed[listed["split"] != "train"]
    config = parameters.fine_tuning.model_copy(update={"precision": "fp32"})
    logits = read_logits(network, run["images"], photos["row"].to_numpy(np.int64), config)
    validation = (photos["split"] == "validation").to_numpy()
    classes = np.asarray([labels.index(category) for category in photos["category"]], np.int64)
    temperature = fit_temperature(logits[validation], classes[validation])
    columns = ["image_id", "product_id", "group", "split", "category"]
    probabilities = list(softmax(logits / temperature, axis=1))
    calibration = {"temperature": temperature, "photos": int(validation.sum())}
    return photos[columns].assign(probabilities=probabilities).reset_index(drop=True), calibration


def correct_cases(
    run: dict[str, Any], photos: pd.DataFrame, listings: pd.DataFrame
) -> dict[str, Cases]:
    """Return whether each photo and listing of the test split is correct."""
    labels = class_labels(run["products"])
    return {
        "photos": cases(photos.sort_values("image_id"), "image_id", "probabilities", labels),
        "listings, photos only": cases(listings, "product_id", "by_photos", labels),
        "with text": cases(listings, "product_id", "probabilities", labels),
    }


def correct_of_photos(run: dict[str, Any], photos: pd.DataFrame) -> dict[str, Cases]:
    """Return the same for other photo predictions, with fusion weights of their own."""
    labels = class_labels(run["products"])
    shares = np.asarray([run["fusion"]["prior"][label] for label in labels])
    return correct_cases(run, photos, fuse(run["product_predictions"], photos, labels, shares)[0])


def linear_probe(run: dict[str, Any], seed: int) -> pd.DataFrame:
    """Predict with the linear probe that fine-tuning starts from."""
    parameters = VisionParameters.model_validate(run["params:vision"])
    parameters = parameters.model_copy(update={"seed": seed})
    data = make_feature_set(run["vision_features"], run["products"], run["splits"], parameters)
    head, _ = train_head(data, parameters)
    selected = data.split != "train"
    logits = predict(head, data.features[selected], parameters)
    return predictions_table(data, logits, selected)


def simple_fusion(run: dict[str, Any]) -> Cases:
    """Average the frozen backbone with TF-IDF and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    labels = class_labels(run["products"])
    by_product = run["splits"].drop_duplicates("product_id")[["product_id", "group", "split"]]
    listed = run["products"].merge(by_product, on="product_id")
    listed["words"] = listed["title"] + " " + listed["description"]
    train, test = listed[listed["split"] == "train"], listed[listed["split"] == "test"]
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, min_df=2), LogisticRegression(C=10, max_iter=1000)
    )
    model.fit(train["words"], train["category"])
    text = pd.DataFrame(model.predict_proba(test["words"]), test["product_id"], model.classes_)
    photos = run["frozen_predictions"]
    photos = photos[photos["split"] == "test"]
    by_photo = pd.DataFrame(np.stack(photos["probabilities"]), columns=list(labels))
    means = by_photo.groupby(photos["product_id"].to_numpy()).mean()
    text = text.reindex(columns=list(labels), fill_value=0.0)
    both = text.add(means.reindex(text.index).fillna(text))
    return both.idxmax(axis=1) == test.set_index("product_id")["category"]


def cases(predictions: pd.DataFrame, by: str, column: str, labels: tuple[str, ...]) -> Cases:
    """Return whether each case of the test split is correct, by its id."""
    selected = (predictions["split"] == "test") & predictions[column].notna()
    return pd.Series(
        predictions_for_split(predictions, "test", labels, column).correct,
        predictions.loc[selected, by],
    )


def groups_of(run: dict[str, Any]) -> dict[str, str]:
    """Return the group of each photo and listing."""
    splits = run["splits"]
    photos = splits.dropna(subset="image_id")
    return dict(zip(photos["image_id"], photos["group"], strict=True)) | dict(
        zip(splits["product_id"], splits["group"], strict=True)
    )


def compare(name: str, ours: list[Cases], others: list[Cases], groups: dict[str, str]) -> None:
    """Print the means over seeds, and the paired difference with its interval."""
    mine = pd.concat(ours, axis=1).astype(float).mean(axis=1)
    theirs = pd.concat(others, axis=1).astype(float).mean(axis=1).reindex(mine.index)
    of_cases = [groups[case] for case in mine.index]
    bootstrap = SAMPLES, CONFIDENCE, 0
    one, two, gain = (
        mean_by_group(values, of_cases, *bootstrap) for values in (mine, theirs, mine - theirs)
    )
    print(
        f"{name:42} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] of {one.cases:,}   "
        f"compared with {two.value:.3f}   gain {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]   "
        f"seeds {' '.join(f'{cases.mean():.3f}' for cases in ours)}",
        flush=True,
    )


def steps(runs: list[dict[str, Any]]) -> None:
    """Print validation accuracy by epoch, and calibration and coverage of each seed."""
    print(
        "\nvalidation, by epoch of fine-tuning (0: the linear probe), then interpolations by share"
    )
    for number, run in enumerate(runs):
        print(f"  run {number}: {rise(run['training_history'])}")
    print("\ntest, by run: calibration error of photos; coverage with text, and error if answered")
    for number, run in enumerate(runs):
        test = run["vision_metrics"]["test"]
        ece, answered = test["photos_ece"], test["abstention"]["products_with_text"]
        print(
            f"  run {number}: {ece['value']:.3f} [{ece['low']:.3f}, {ece['high']:.3f}]; "
            f"{answered['coverage']['value']:.3f}, {(answered['error'] or {}).get('value')}"
        )


def without(seed: int) -> None:
    """Print validation accuracy of trainings without one step."""
    print(f"\nvalidation, seed {seed}, by epoch of fine-tuning, then interpolations by share")
    for name, changes in STEPS.items():
        train(f"seed={seed}", *changes)
        print(f"  {name:36} {rise(loaded('training_history')['training_history'])}", flush=True)


def rise(history: list[dict[str, Any]]) -> str:
    """Format the validation accuracy of all epochs and interpolations."""
    epochs = [epoch for epoch in history if epoch["stage"] == "fine_tuning"]
    mixed = [point for point in history if point["stage"] == "interpolation"]
    accuracies = " ".join(f"{epoch['validation_accuracy']:.3f}" for epoch in epochs)
    by_share = (f"{point['share']}: {point['validation_accuracy']:.3f}" for point in mixed)
    return f"{accuracies}; {', '.join(by_share)}"


def heads(run: dict[str, Any], seeds: list[int]) -> None:
    """Print the effect of choices about the linear probe."""
    print(
        "\nvalidation, linear probe on the frozen backbone: accuracy, cross-entropy; mean of seeds"
    )
    parameters = VisionParameters.model_validate(run["params:vision"])
    for name, change in HEADS.items():
        update = dict(change)
        hidden = update.pop("hidden", None)
        best = []
        for seed in seeds:
            recipe = parameters.model_copy(update={**update, "seed": seed})
            data = make_feature_set(run["vision_features"], run["products"], run["splits"], recipe)
            _, history = train_head(data, recipe, hidden)
            best.append(max(history, key=lambda epoch: epoch["validation_accuracy"]))
        accuracy, loss = (
            np.mean([epoch[metric] for epoch in best])
            for metric in ("validation_accuracy", "validation_loss")
        )
        print(f"  {name:36} {accuracy:.3f}  {loss:.3f}")


if __name__ == "__main__":
    main()
