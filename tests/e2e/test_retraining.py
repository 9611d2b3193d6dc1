"""Nights after a training: listings come and go, and the models are kept until their recipe changes."""

import csv
import io
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import lance
import pytest
from support.kedro_project import Place, Run
from support.killed_runs import copy_lake, digests, start_run

FITTED = {
    *("train_linear_probe", "train_network", "train_embedding_head"),
    *("train_hidden_layer", "calibrate_encoder"),
    *("quantize_encoder", "select_external_weight", "select_encoder", "select_precision"),
    "train_projection",
    *("train_price_models", "train_category_model", "train_ranker", "train_relevance"),
    *("train_pixel_model", "report_leakage", "evaluate_within_split"),
    *("select_image_index", "select_text_index", "select_text_to_image_index"),
}


@pytest.fixture(scope="module")
def place(whole_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Copies of the bucket and the lake of the full run, for all tests in their order."""
    folder = tmp_path_factory.mktemp("retraining")
    shutil.copytree(whole_run.place.clone / whole_run.place.raw, folder / "raw")
    with copy_lake(whole_run.place, folder) as copy:
        yield replace(copy, raw=str(folder / "raw"))


@pytest.mark.slow
def test_removed_training_listing_trains_and_encodes_nothing(place: Place, whole_run: Run) -> None:
    listings = whole_run.table("training_listings")
    sizes = listings.groupby("category")["product_id"].transform("size")
    gone = listings[(listings["split"] == "train") & (sizes > 1)]["product_id"].iloc[0]
    _remove(place, "Products", gone)
    _remove(place, "Images", gone)

    version = place.run(recompute=False)

    assert _fitted(place, version) == (set(), FITTED)
    assert place.json("embeddings_report", version)["encoded"] == 0
    assert gone not in set(place.table("products", version)["product_id"])
    drift = place.json("drift_report", version)
    assert drift["listings"]["gone"] == drift["listings"]["trained_on_and_gone"] == 1
    assert drift["retraining_due"] is False


@pytest.mark.slow
def test_night_encodes_new_photos_only_and_survives_a_kill(
    place: Place, tmp_path: Path, draw_photo: Callable[[int], bytes]
) -> None:
    added = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"listing {number}")) for number in range(3)]
    photos = {str(uuid.uuid5(uuid.NAMESPACE_URL, f"photo {n}")): added[n % 2] for n in range(4)}
    last = max(place.records())
    listings = place.table("products", last)
    ordinary = listings[listings["price_flag"].isna() & listings["copy_of"].isna()]
    gone, *changed = ordinary.loc[ordinary["photos"] > 0, "product_id"].iloc[:3]
    photos_gone = int(listings.set_index("product_id").loc[gone, "photos"])

    columns, rows = _read(place, "Products")
    accepted_row = next(row for row in rows if row[columns.index("id")] in set(changed))
    pattern = dict(zip(columns, accepted_row, strict=True))
    products = [
        {
            "id": name,
            "product_name": f"Another {name[:8]} | somewhere else",
            "product_description": f"Nobody has described {name} like this so far",
        }
        for name in added
    ]
    _append(place, "Products", [pattern | values for values in products])
    owners = [{"id": image, "product_id": product} for image, product in photos.items()]
    _append(place, "Images", owners)
    for number, image in enumerate(photos):
        Path(place.raw, "images", f"{image}.jpg").write_bytes(draw_photo(number))
    for name in changed:
        _replace(place, name, " | ", " as good as new | ")
    for table in ("Products", "Images"):
        _remove(place, table, gone)

    with copy_lake(place, tmp_path) as killed:
        encoded = lance.dataset(killed.lake_path("07_model_output/image_embeddings.lance"))
        with start_run(killed) as run:
            run.wait_for(lambda: encoded.latest_version > encoded.version)
            run.kill()
        assert max(killed.records()) == last
        resumed = Run(killed, killed.run(recompute=False))
        version = place.run(recompute=False)

        assert digests(resumed) == digests(Run(place, version))
        keys = lance.dataset(killed.lake_path("07_model_output/image_embeddings.lance"))
        assert keys.count_rows() == resumed.json("embeddings_report")["photos"]

    assert _fitted(place, version) == (set(), FITTED)
    report = place.json("embeddings_report", version)
    assert (report["encoded"], report["removed"]) == (len(photos), photos_gone)
    texts = place.json("texts_report", version)
    assert (texts["encoded"], texts["removed"]) == (len(added) + len(changed), len(changed) + 1)
    counts = place.json("drift_report", version)["listings"]
    assert (counts["new"], counts["gone"]) == (len(added), 2)
    assert set(place.table("product_predictions", version)["product_id"]) == set(
        _evaluated(place, version)
    )


@pytest.mark.stress
def test_always_trains_the_models_of_vision_only(place: Place) -> None:
    version = place.run("--params=vision.retrain=always", recompute=False)

    trained, kept = _fitted(place, version)
    assert {"train_linear_probe", "train_network", "calibrate_encoder"} <= trained
    assert {"train_category_model", "train_price_models", "select_precision"} <= kept
    assert {"select_text_index", "train_pixel_model"} <= kept
    assert place.json("drift_report", version)["listings"]["new"] == 0


@pytest.mark.slow
def test_changed_recipe_trains_again(place: Place) -> None:
    version = place.run("--params=baselines.category.bow_C=5.0", recompute=False)

    trained, _ = _fitted(place, version)
    assert trained == {"train_category_model", "train_pixel_model", "train_price_models"}


def _fitted(place: Place, version: str) -> tuple[set[str], set[str]]:
    """The models that a run trained, and those that it kept although their data had changed."""
    nodes = {node["node"]: node for node in place.json("run_report", version)["nodes"]}
    trained = {name for name in FITTED if nodes[name]["state"] == "computed"}
    kept = {name for name in FITTED if "retained" in nodes[name]}
    return trained, kept


def _evaluated(place: Place, version: str) -> set[str]:
    splits = place.table("splits", version)
    labelled = set(place.table("product_labels", version)["product_id"])
    return set(splits.loc[splits["split"] != "train", "product_id"]) & labelled


def _read(place: Place, table: str) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of a table of the bucket."""
    with Path(place.raw, f"Assets/{table}.csv").open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    return columns, [row for row in rows if len(row) == len(columns)]


def _remove(place: Place, table: str, listing: str) -> None:
    """Remove the rows of a listing. Descriptions have bare carriage returns, so a row is a line."""
    path = Path(place.raw, f"Assets/{table}.csv")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(line for line in lines if listing.encode() not in line))


def _replace(place: Place, listing: str, old: str, new: str) -> None:
    """Replace a part of the row of a listing."""
    path = Path(place.raw, "Assets/Products.csv")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(
        b"\n".join(
            line.replace(old.encode(), new.encode()) if listing.encode() in line else line
            for line in lines
        )
    )


def _append(place: Place, table: str, rows: list[dict[str, str]]) -> None:
    path = Path(place.raw, f"Assets/{table}.csv")
    text = io.StringIO()
    columns, _ = _read(place, table)
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    path.write_bytes(path.read_bytes().rstrip(b"\n") + b"\n" + text.getvalue().encode())
