import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from fb_marketplace import tables
from fb_marketplace.lance_schemas import VISION_FEATURES
from fb_marketplace.pipelines.vision.training import train


@pytest.fixture
def trained(tmp_path, told):
    """Trains on 90 photos of three categories; the commonest has half of them."""
    classes = np.array([0, 1, 2, 0] * 23)[:90]
    rows = [
        {"key": f"{place:02}", "image_id": f"{place:02}", "features": np.eye(3, 4)[each].tolist()}
        for place, each in enumerate(classes)
    ]
    url = str(tmp_path / "features.lance")
    tables.ensure(url, VISION_FEATURES)
    tables.insert(url, pa.Table.from_pylist(rows, schema=VISION_FEATURES))
    ids = [row["image_id"] for row in rows]
    products = pd.DataFrame(
        {"product_id": ids, "category": [f"category {each}" for each in classes]}
    )
    splits = pd.DataFrame({"image_id": ids, "product_id": ids, "group": ids})
    splits["split"] = ["train"] * 60 + ["validation"] * 14 + ["test"] * 16
    return train(tables.open_table(url), products, splits, {"products": "abc"}, told)


def test_a_model_is_measured_on_validation_and_test_beside_the_commonest_category(trained):
    test = trained.metrics["test"]

    assert set(trained.metrics) == {"validation", "test"}
    assert test["photos_top1"]["value"] == 1
    assert test["photos_top1"]["cases"] == 16
    assert test["photos_top1_commonest_category"]["value"] == pytest.approx(0.5, abs=0.1)


def test_a_model_carries_its_labels_transform_and_data(trained, tmp_path, told):
    (tmp_path / "model").write_bytes(trained.model)

    with safe_open(tmp_path / "model", "numpy") as opened:
        card = json.loads(opened.metadata()["card"])
    assert trained.labels == ["category 0", "category 1", "category 2"]
    assert card["labels"] == trained.labels
    assert card["transform"]["input_side"] == told.input_side
    assert card["data"] == {"products": "abc"}
    assert load(trained.model)["head.weight"].shape == (3, 4)


def test_the_history_can_be_written_as_json(trained, told):
    assert len(json.loads(json.dumps(trained.history))) == told.epochs
