"""Runs of some nodes, selected by their short names, by their full names and by tags."""

from pathlib import Path

from support.kedro_project import Place, Run
from support.killed_runs import copy_lake

FIGURES = {"photo_grid", "learning_curves", "photo_confusion"}
CLEANED = {"cleaned_products", "quarantined_products", "run_report"}


def test_run_of_one_node_makes_its_outputs(sample: Place) -> None:
    version = sample.run("--nodes=cleaning.clean_products")

    assert set(sample.records()[version]["outputs"]) == CLEANED


def test_run_between_nodes_makes_what_lies_between(sample: Place) -> None:
    version = sample.run("--from-nodes=clean_products", "--to-nodes=clean_image_rows")

    created = set(sample.records()[version]["outputs"])
    assert created == CLEANED | {"cleaned_image_rows", "quarantined_image_rows"}
    assert [node["node"] for node in sample.json("run_report", version)["nodes"]] == [
        "clean_products",
        "clean_image_rows",
    ]


def test_run_of_report_tag_draws_from_last_run(whole_run: Run, tmp_path: Path) -> None:
    with copy_lake(whole_run.place, tmp_path) as place:
        version = place.run("--tags=report", f"--to-outputs={','.join(FIGURES)}")
        record = place.records()[version]

        assert set(record["outputs"]) > FIGURES
        assert record["inputs"]["vision_predictions"] == whole_run.version
        assert place.read("photo_grid", version) == whole_run.place.read(
            "photo_grid", whole_run.version
        )
