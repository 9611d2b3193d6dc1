import io

import numpy as np
import pytest
from PIL import Image
from support.builders.vision_predictions import MEASURING, marketplace

from fb_marketplace.pipelines.vision.evaluation import figures
from fb_marketplace.pipelines.vision.evaluation.figures import (
    plot_drift,
    plot_mistakes,
    plot_photo_confusion,
    plot_product_confusion,
    plot_reliability_diagram,
    short_names,
)
from fb_marketplace.pipelines.vision.evaluation.late_fusion import fuse_products


def is_png(data):
    return Image.open(io.BytesIO(data)).format == "PNG"


@pytest.mark.parametrize("listings", [6, 90])
def test_confusion_and_reliability_figures_are_drawn(listings):
    products, splits, photos, text = marketplace(listings)
    fused = fuse_products(photos, text, products, splits).predictions

    assert is_png(plot_photo_confusion(photos, products))
    assert is_png(plot_product_confusion(fused, products))
    assert is_png(plot_reliability_diagram(photos, products, {"temperature": 2.0}, MEASURING))


@pytest.mark.parametrize("today", [{"Arts": 7, "Home": 0}, {}])
def test_drift_is_drawn(today):
    mix = {"psi": 0.3, "at_training": dict.fromkeys(today, 5), "today": today}

    assert is_png(
        plot_drift({"label_mix": mix, "embeddings": {"psi": 0.1}, "retraining_due": True})
    )


def test_long_labels_are_shortened_uniquely():
    labels = ["Home & Garden", "Phones, Mobile Phones", "Video Games", "Video Tapes", "Arts"]

    assert short_names(labels) == ["Home", "Phones", "Video Games", "Video Tapes", "Arts"]


@pytest.fixture
def sheets(monkeypatch):
    """Record the cells of sheets."""
    created = []

    def keep(cells, columns, title):
        created.append((cells, title))
        return b"a sheet"

    monkeypatch.setattr(figures, "contact_sheet", keep)
    return created


def params(photos, says):
    """Test photos with their predictions."""
    table = photos.query("split == 'test'").head(len(says)).assign(category="Arts")
    return table.assign(probabilities=[np.float32(item) for item in says])


def test_most_confident_mistakes_are_first(sheets, store_photos, draw_photo):
    products, _, photos, _ = marketplace(30)
    says = [[0.1, 0.8, 0.1], [0.9, 0.1, 0], [0.01, 0.02, 0.97], [0.4, 0.5, 0.1]]
    table = params(photos, says)
    stored = store_photos(
        {image: draw_photo(seed) for seed, image in enumerate(sorted(table["image_id"])[::-1])}
    )
    two = MEASURING.model_copy(update={"num_worst_errors": 2})

    assert plot_mistakes(table, stored, products, two) == b"a sheet"
    (cells, title) = sheets[0]
    assert [cell.caption for cell in cells] == [
        "Sport 0.97, is Arts",
        "Home 0.80, is Arts",
    ]
    jpegs = {row["image_id"]: row["jpeg"] for row in stored.read(["image_id", "jpeg"]).to_pylist()}
    assert [cell.content for cell in cells] == [
        jpegs[table["image_id"].iloc[2]],
        jpegs[table["image_id"].iloc[0]],
    ]
    assert title.startswith("The 2 most confident of 3 errors on 4 photos")


def test_sheet_without_mistakes_is_empty(store_photos, draw_photo):
    products, _, photos, _ = marketplace(30)
    table = params(photos, [[0.9, 0.1, 0]])
    stored = store_photos({table["image_id"].iloc[0]: draw_photo(0)})

    assert is_png(plot_mistakes(table, stored, products, MEASURING))
