"""Runs after nothing, a title or a photo has changed."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.kedro_project import Place, Run
from support.killed_runs import copy_lake, start_run

ENCODING = {"extract_backbone_features", "extract_block_features", "embed_images"}
TRAINING = {"train_linear_probe", "train_network", "train_embedding_head"}


@pytest.fixture(scope="module")
def place(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Copies of the bucket and the lake of the full run, whose nodes have the code of now."""
    folder = tmp_path_factory.mktemp("incremental")
    shutil.copytree(whole_run.place.clone / whole_run.place.raw, folder / "raw")
    with copy_lake(whole_run.place, folder) as copy:
        place = replace(copy, raw=str(folder / "raw"))
        yield place


def test_unchanged_run_computes_and_publishes_nothing(place: Place) -> None:
    before, current = set(place.records()), _current(place)

    with start_run(place) as run:
        assert run.wait() == 0
        log = run.log_text()

    assert f"No changes since release {current['version']}" in log
    assert "0 nodes computed" in log
    assert _current(place) == current
    assert set(place.records()) == before


def test_changed_title_computes_what_depends_on_it(place: Place) -> None:
    changed = _change_title(place)

    version = place.run(recompute=False)

    nodes = {node["node"]: node for node in place.json("run_report", version)["nodes"]}
    computed = {name for name, node in nodes.items() if node["state"] == "computed"}
    assert {"clean_products", "build_bm25", "embed_texts", "build_manifest"} <= computed
    assert computed & (ENCODING | TRAINING | {"read_photos", "export_encoder"}) == set()
    assert nodes["embed_texts"]["outputs"]["text_embeddings"]["rows"] == 1
    assert _current(place)["version"] == version
    titles = place.table("products", version).set_index("product_id")["title"]
    assert titles[changed].startswith("Quite another title")


def _current(place: Place) -> Any:
    return json.loads(place.files.cat_file(place.lake_path("releases/current.json")))


def _change_title(place: Place) -> str:
    """Change the title of the first listing that was accepted; return its id."""
    path = Path(place.raw, "Assets/Products.csv")
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    accepted = set(place.table("products", max(place.records()))["product_id"])
    id_column, title = columns.index("id"), columns.index("product_name")
    row = next(row for row in rows if len(row) == len(columns) and row[id_column] in accepted)
    content = path.read_bytes().decode()  # with its bare carriage returns
    line = next(line for line in content.split("\n") if row[id_column] in line)
    other = line.replace(row[title], f"Quite another title{row[title][row[title].find(' |') :]}", 1)
    path.write_bytes(content.replace(line, other, 1).encode())
    return row[id_column]
