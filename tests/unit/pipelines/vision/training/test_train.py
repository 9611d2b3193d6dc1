import json
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load, save
from scipy.special import softmax

from fb_marketplace.pipelines.vision.data.task import data_digests, make_task, photos_with_labels
from fb_marketplace.pipelines.vision.models.network import (
    load_network,
    make_head,
    make_network,
    network_weights,
)
from fb_marketplace.pipelines.vision.training.linear_probe import (
    HeadWeights,
    make_feature_set,
    predict,
    train_head,
)
from fb_marketplace.pipelines.vision.training.train import (
    predict_from_frozen_features,
    train_linear_probe,
    train_network,
)
from fb_marketplace.schemas.lance import IMAGES, VISION_FEATURES
from fb_marketplace.schemas.predictions import VisionPredictions
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.checkpoint_dir import CheckpointDir
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import FRAMING_VERSION

LABELS = ["Blue", "Green", "Red"]
HEAD_HISTORY = [{"epoch": 1, "validation_accuracy": 0.5}]


@pytest.fixture
def vision_features(tmp_path, marketplace):
    """Features that determine the category."""
    random = np.random.default_rng(0)
    products = marketplace.products.set_index("product_id")
    rows = []
    for image_id in marketplace.images.read(["image_id"]).column("image_id").to_pylist():
        features = random.normal(0, 0.02, 256)
        features[LABELS.index(products["category"][f"product of {image_id}"])] += 1
        rows.append({"key": image_id, "image_id": image_id, "features": features.tolist()})
    url = str(tmp_path / "features.lance")
    keyed_table.ensure_table(url, VISION_FEATURES)
    table_writer.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
    return keyed_table.open_table(url)


@pytest.fixture(scope="module")
def vision_head(tmp_path_factory, base_recipe):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    path.write_bytes(save(network_weights(make_head(base_recipe, 3, (2, 2, 2)))))
    return FileRef(str(path))


@pytest.fixture(scope="module")
def train_in(marketplace, vision_head, base_recipe, changed):
    """Trains the network for one epoch in a work folder; named parameters change."""

    def run(folder, head=vision_head, data=marketplace, **values):
        one = changed(changed(base_recipe, fine_tuning={"epochs": 1}), **values)
        return train_network(*data, head, HEAD_HISTORY, CheckpointDir(str(folder)), one)

    return run


@pytest.fixture(scope="module")
def trained(train_in, tmp_path_factory):
    """The network after one epoch."""
    return train_in(tmp_path_factory.mktemp("trained"), fine_tuning={"wise_ft_alphas": [0.5]})


@pytest.fixture
def train(train_in, tmp_path):
    """Trains the network in a work folder of the test's own."""
    return partial(train_in, tmp_path / "work")


@pytest.fixture
def trainings(tmp_path):
    """Names the trainings that have left something in the work folder."""
    return lambda: {path.name for path in (tmp_path / "work").iterdir()}


def card_of(model):
    length = int.from_bytes(model[:8], "little")
    return json.loads(json.loads(model[8 : 8 + length])["__metadata__"]["card"])


@pytest.fixture
def predict_frozen(vision_features, marketplace, base_recipe, tmp_path):
    """Predicts photos with the saved linear baseline."""

    def predict(trained):
        path = tmp_path / "frozen_head.safetensors"
        path.write_bytes(trained.frozen_head)
        data = (vision_features, marketplace.products, marketplace.splits)
        return predict_from_frozen_features(*data, FileRef(str(path)), base_recipe)

    return predict


def test_head_only_predicts_validation_and_test(
    vision_features, marketplace, base_recipe, predict_frozen
):
    trained = train_linear_probe(
        vision_features, marketplace.products, marketplace.splits, base_recipe
    )

    frozen = VisionPredictions.validate(predict_frozen(trained))
    assert frozen["image_id"].tolist() == [f"{place:02}" for place in range(24, 36)]
    answers = [LABELS[probabilities.argmax()] for probabilities in frozen["probabilities"]]
    assert answers == frozen["category"].tolist()


def test_baseline_predicts_categories_only(
    vision_features, marketplace, base_recipe, predict_frozen
):
    trained = train_linear_probe(
        vision_features, marketplace.products, marketplace.splits, base_recipe
    )

    plain = make_feature_set(vision_features, marketplace.products, marketplace.splits)
    head, _ = train_head(plain, base_recipe)
    predicted = predict(head, plain.features[plain.split != "train"], base_recipe)
    assert "path_counts" in load(trained.head)
    assert "path_counts" not in head.weights
    frozen = np.stack(predict_frozen(trained)["probabilities"])
    np.testing.assert_allclose(frozen, softmax(predicted, axis=1), atol=1e-6)


def test_head_only_has_weights_and_history(vision_features, marketplace, base_recipe):
    trained = train_linear_probe(
        vision_features, marketplace.products, marketplace.splits, base_recipe
    )

    features = np.eye(3, 256, dtype=np.float32)
    answers = predict(HeadWeights(load(trained.head), tuple(LABELS)), features, base_recipe).argmax(
        axis=1
    )
    assert answers.tolist() == [0, 1, 2]
    assert len(json.loads(json.dumps(trained.history))) == base_recipe.head.epochs


def test_history_has_all_stages_and_is_json(trained):
    history = json.loads(json.dumps(trained.history))

    assert [(epoch["stage"], epoch.get("epoch", epoch.get("share"))) for epoch in history] == [
        ("head", 1),
        ("fine_tuning", 0),
        ("fine_tuning", 1),
        ("interpolation", 0.5),
    ]


def test_every_checkpoint_loads_into_the_network(trained, base_recipe):
    assert list(trained.checkpoints) == ["epoch_0000.safetensors", "epoch_0001.safetensors"]
    for read in trained.checkpoints.values():
        load_network(base_recipe, 3, load(read()))


def test_model_is_best_on_validation(trained):
    measured = [item for item in trained.history if item["stage"] != "head"]
    ranked = sorted(
        measured, key=lambda item: (-item["validation_accuracy"], item["validation_loss"])
    )
    assert card_of(trained.model)["metrics"].items() <= ranked[0].items()


def test_model_weights_match_its_card(train):
    trained = train(fine_tuning={"wise_ft_alphas": []})

    for model in (trained.model, trained.final):
        epoch = int(card_of(model)["metrics"]["epoch"])
        weights, remaining = (
            load(model),
            load(trained.checkpoints[f"epoch_{epoch:04}.safetensors"]()),
        )
        assert weights.keys() == remaining.keys()
        assert all(torch.equal(weights[name], remaining[name]) for name in remaining)


def test_final_model_is_the_last_epoch(trained):
    assert card_of(trained.final)["metrics"]["epoch"] == 1


def test_model_has_labels_transform_data_recipe_and_code(trained, base_recipe, marketplace):
    card = card_of(trained.model)
    assert card["labels"] == LABELS
    assert card["transform"] == {
        "photos_version": canonical.VERSION,
        "framing_version": FRAMING_VERSION,
        "photo_side": 256,
        "input_side": 64,
    }
    assert card["data"] == data_digests(*marketplace)
    assert card["recipe"]["backbone"] == base_recipe.backbone
    assert card["recipe"]["fine_tuning"]["epochs"] == 1
    assert card["code_revision"]


def test_training_is_deterministic(trained, train):
    assert train(fine_tuning={"wise_ft_alphas": [0.5]}).model == trained.model


@pytest.mark.parametrize(
    ("values", "retrains"),
    [
        ({"seed": 1}, True),
        ({"label_smoothing": 0.0}, True),
        ({"fine_tuning": {"learning_rate": 0.5, "epochs": 0}}, True),
        ({"weights": "default"}, False),  # which for the small network is none
        ({"fine_tuning": {"precision": "bf16", "epochs": 0}}, True),
        ({"fine_tuning": {"workers": 1, "epochs": 0}}, False),
        ({"fine_tuning": {"wise_ft_alphas": [0.9], "epochs": 0}}, False),
        ({"weights_license": "mit"}, False),
        ({"weights_sha256": "ab" * 32}, False),  # without a file, it pins nothing
        ({"encoder": {"precision": "fp32"}}, False),
        ({"embedding": {"epochs": 9}}, False),
    ],
)
def test_changed_recipe_retrains(train, trainings, values, retrains):
    untrained = {"fine_tuning": {"epochs": 0}}  # it has its folder all the same, and sooner
    train(**untrained)
    train(**untrained | values)

    assert (len(trainings()) == 2) is retrains


def test_own_side_as_a_number_does_not_retrain(train, trainings):
    train(fine_tuning={"epochs": 0}, input_side=None)
    train(fine_tuning={"epochs": 0}, input_side=canonical.SIDE)

    assert len(trainings()) == 1


@pytest.mark.parametrize(
    ("table", "column", "retrains"),
    [
        ("products", "category_path", True),
        ("products", "title", False),
        ("splits", "split", True),
    ],
)
def test_changed_data_retrains(train, trainings, marketplace, table, column, retrains):
    changed = getattr(marketplace, table).copy()
    changed.loc[changed.index[-1], column] = "test"
    train(fine_tuning={"epochs": 0})
    train(fine_tuning={"epochs": 0}, data=marketplace._replace(**{table: changed}))

    assert (len(trainings()) == 2) is retrains


def test_changed_head_retrains(train, trainings, tmp_path, base_recipe):
    torch.manual_seed(1)
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(network_weights(make_head(base_recipe, 3, (2, 2, 2)))))
    train(fine_tuning={"epochs": 0})
    train(fine_tuning={"epochs": 0}, head=FileRef(str(path)))

    assert len(trainings()) == 2


def test_split_decides_training_and_selection_photos(marketplace, base_recipe):
    task = make_task(*marketplace, base_recipe)

    def ids(rows):
        return marketplace.images.take(rows.tolist(), ["image_id"]).column("image_id").to_pylist()

    assert ids(task.rows) == [f"{place:02}" for place in range(24)]
    assert ids(task.validation_rows) == [f"{place:02}" for place in range(24, 30)]
    assert task.classes.tolist() == [0, 1, 2] * 8
    assert task.validation_classes.tolist() == [0, 1, 2] * 2


def test_unsplit_photo_is_not_listed(marketplace):
    fewer = marketplace.splits[marketplace.splits["image_id"] != "07"]

    listed = photos_with_labels(marketplace.images, marketplace.products, fewer)

    assert listed["image_id"].tolist() == [f"{place:02}" for place in range(36) if place != 7]
    read = marketplace.images.take(listed["row"].tolist(), ["image_id"])
    assert read.column("image_id").to_pylist() == listed["image_id"].tolist()


def test_listing_without_photos_has_no_rows(marketplace):
    without = marketplace.splits.copy()
    without.loc[without["image_id"] == "07", "image_id"] = None

    listed = photos_with_labels(marketplace.images, marketplace.products, without)

    assert len(listed) == 35


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_classifier_needs_photos_in_each_split(vision_features, marketplace, base_recipe, split):
    splits = marketplace.splits[marketplace.splits["split"] != split]

    with pytest.raises(InsufficientDataError, match=rf"'{split}': 0"):
        train_linear_probe(vision_features, marketplace.products, splits, base_recipe)


def test_network_without_classes_is_the_pretrained_backbone(marketplace, base_recipe, tmp_path):
    missing = Skipped("one category")
    trained = train_network(
        marketplace.images,
        missing,
        marketplace.splits,
        missing,
        missing,
        CheckpointDir(str(tmp_path)),
        base_recipe,
    )

    assert (trained.checkpoints, trained.history) == ({}, [])
    weights = load_network(base_recipe, 1, load(trained.model)).trunk.state_dict()
    backbone = make_network(base_recipe, 1).trunk.state_dict()
    assert all(torch.equal(value, backbone[name]) for name, value in weights.items())


def test_network_records_the_listings_it_was_trained_on(trained, marketplace):
    listings = trained.listings.set_index("product_id")

    expected = marketplace.splits.set_index("product_id")["split"].to_dict()
    assert listings["split"].to_dict() == expected
    assert listings["category"].to_dict() == (
        marketplace.products.set_index("product_id")["category"].to_dict()
    )


def test_market_without_photos_has_no_network(marketplace, base_recipe, tmp_path):
    url = str(tmp_path / "images.lance")
    keyed_table.ensure_table(url, IMAGES)
    given = (marketplace.splits, Skipped(""), Skipped(""), CheckpointDir(str(tmp_path)))

    with pytest.raises(InsufficientDataError, match="no photos"):
        train_network(keyed_table.open_table(url), marketplace.products, *given, base_recipe)
