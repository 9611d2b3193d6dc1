"""What Kedro-Viz shows: the way from layer to layer, and the pictures that a run has drawn."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.kedro_project import Run

LAYERS = [
    *("raw", "intermediate", "primary", "feature", "model_input", "models"),
    *("model_output", "reporting", "release"),
]
"""Kedro's own, and the release that all ends in."""


@pytest.fixture(scope="module")
def shown(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser is sent, as files."""
    clone = whole_run.place.clone
    whole_run.place.kedro("viz", "build", "--include-previews")
    api = tmp_path_factory.mktemp("viz") / "api"
    shutil.move(clone / "build" / "api", api)
    shutil.rmtree(clone / "build")
    return api


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_layers_are_shown_in_their_order(shown: Path) -> None:
    whole, *stages = [_read(shown / "main"), *map(_read, sorted((shown / "pipelines").iterdir()))]

    assert sorted(whole["layers"], key=LAYERS.index) == sorted(LAYERS, key=LAYERS.index)
    assert _without_order_among_equals(whole["layers"]) == _without_order_among_equals(LAYERS)
    assert [stage["selected_pipeline"] for stage in stages if not stage["layers"]] == []


def _without_order_among_equals(layers: list[str]) -> list[str]:
    """Features need no split and splits no features: either may stand first."""
    return ["feature" if layer == "model_input" else layer for layer in layers]


@pytest.mark.parametrize(
    "picture",
    [
        *("photo_grid", "quarantine_grid", "category_histogram", "price_histogram"),
        *("baselines_chart", "category_confusion", "price_chart"),
        *("learning_curves", "embedding_curve", "photo_confusion", "product_confusion"),
        *("reliability_diagram", "mistakes_grid", "retrieval_grid"),
    ],
)
def test_pictures_are_shown(shown: Path, whole_run: Run, picture: str) -> None:
    (node,) = [one for one in _read(shown / "main")["nodes"] if one["name"] == picture]

    details = _read(shown / "nodes" / node["id"])

    assert details["preview_type"] == "ImagePreview"
    drawn = whole_run.place.read(picture, whole_run.version)
    assert base64.b64decode(details["preview"]) == drawn
    assert drawn.startswith(b"\x89PNG")


def test_tables_are_shown_with_their_columns(shown: Path) -> None:
    (node,) = [one for one in _read(shown / "main")["nodes"] if one["name"] == "products"]

    details = _read(shown / "nodes" / node["id"])

    assert {"product_id", "title", "price_flag"} <= set(details["preview"]["columns"])
