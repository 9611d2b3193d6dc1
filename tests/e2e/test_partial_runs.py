"""Runs of some nodes, selected by their short names, by their full names and by tags."""

from pathlib import Path

import pytest
from support.kedro_project import BIN, Place, Run, command
from support.killed_runs import copy_lake

from fb_marketplace_serving.release.pointer import load_pointer
from fb_marketplace_serving.storage.erasure_list import add_to_erasure_list
from fb_marketplace_serving.storage.lake import Lake

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


@pytest.mark.slow
def test_erased_listing_is_published_by_no_run_and_no_rollback(
    whole_run: Run, tmp_path: Path
) -> None:
    product = str(whole_run.table("image_products")["product_id"].iloc[0])
    with copy_lake(whole_run.place, tmp_path) as place:
        lake = Lake(place.lake_path(""))
        add_to_erasure_list(lake, [product], [])

        with pytest.raises(AssertionError, match="erased"):
            place.kedro("run", "--env=test", "--pipeline=release", "--recompute")
        rollback = (str(BIN / "fb-serve"), "rollback", whole_run.version, "--lake", lake.url)
        with pytest.raises(AssertionError, match="erased"):
            command(*rollback, cwd=place.clone, environment=place.environment)

        assert load_pointer(lake).version == whole_run.version
        manifests = [name for name in lake.sizes("releases") if name.endswith("Z.json")]
        assert manifests == [f"{whole_run.version}.json"]
