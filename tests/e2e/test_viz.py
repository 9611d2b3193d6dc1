"""Kedro-Viz: the stages at its top level, and the pictures that a run has drawn."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.kedro_project import Run

LAYERS = {
    *("raw", "intermediate", "primary", "feature", "model_input", "models"),
    *("model_output", "reporting", "release"),
}
"""Kedro's own, and the release."""

STAGES = {
    *("cleaning", "baselines", "vision", "embeddings", "vision_evaluation", "indexing"),
    *("text", "listings", "pricing", "ranking", "release"),
}


@pytest.fixture(scope="module")
def viz_folder(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the files that Kedro-Viz sends to the browser."""
    clone = whole_run.place.clone
    whole_run.place.kedro("viz", "build", "--include-previews")
    api = tmp_path_factory.mktemp("viz") / "api"
    shutil.move(clone / "build" / "api", api)
    shutil.rmtree(clone / "build")
    return api


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def test_top_level_has_a_box_for_each_stage(viz_folder: Path) -> None:
    """As ``make viz`` opens it: datasets and parameters hidden."""
    main = _read(viz_folder / "main")

    children = main["modular_pipelines"]["__root__"]["children"]

    boxes = {child["id"] for child in children if child["type"] in ("modularPipeline", "task")}
    assert boxes == STAGES
    assert len(boxes) <= 12


def test_every_node_lies_in_a_stage(viz_folder: Path) -> None:
    main = _read(viz_folder / "main")

    tasks = {node["id"]: node for node in main["nodes"] if node["type"] == "task"}

    children = {
        child["id"]
        for stage in STAGES
        for child in main["modular_pipelines"][stage]["children"]
        if child["type"] == "task"
    }
    assert children == set(tasks)
    assert "clean_products" in {node["name"] for node in tasks.values()}


def test_datasets_have_the_layers_of_the_catalog(viz_folder: Path) -> None:
    """Kedro-Viz cannot order layers whose stages are collapsed; each dataset still has its own."""
    nodes = _read(viz_folder / "main")["nodes"]

    layers = {node.get("layer") for node in nodes if node["type"] == "data"}

    assert layers - {None} == LAYERS


@pytest.mark.parametrize(
    "picture",
    [
        *("photo_grid", "quarantine_grid", "category_histogram", "price_histogram"),
        *("baselines_chart", "category_confusion", "price_chart"),
        *("learning_curves", "embedding_curve", "photo_confusion", "product_confusion"),
        *("reliability_diagram", "mistakes_grid", "retrieval_grid"),
    ],
)
def test_figures_are_shown(viz_folder: Path, whole_run: Run, picture: str) -> None:
    (node,) = [one for one in _read(viz_folder / "main")["nodes"] if one["name"] == picture]

    details = _read(viz_folder / "nodes" / node["id"])

    assert details["preview_type"] == "ImagePreview"
    drawn = whole_run.place.read(picture, whole_run.version)
    assert base64.b64decode(details["preview"]) == drawn
    assert drawn.startswith(b"\x89PNG")


def test_tables_are_shown_with_their_columns(viz_folder: Path) -> None:
    (node,) = [one for one in _read(viz_folder / "main")["nodes"] if one["name"] == "products"]

    details = _read(viz_folder / "nodes" / node["id"])

    assert {"product_id", "title", "price_flag"} <= set(details["preview"]["columns"])
