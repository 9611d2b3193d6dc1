"""Embeddings after photos change and after a killed run."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pytest
from support.kedro_project import Place, Run
from support.killed_runs import committed, copy_lake, start_run

pytestmark = pytest.mark.slow

SMALL_STEPS = "--params=embeddings.photos_per_batch=2,embeddings.photos_per_shard=2"
"""A commit every two photos, so that there is a middle to be killed in."""


@pytest.fixture
def place(whole_run: Run, tmp_path: Path) -> Iterator[Place]:
    """Copies of the bucket and the lake of the full run, deleted after the test."""
    raw = tmp_path / "raw"
    shutil.copytree(whole_run.place.clone / whole_run.place.raw, raw)
    left_out = ("work", "checkpoints", "tensorboard", "releases")
    with copy_lake(whole_run.place, tmp_path, *left_out) as copy:
        yield replace(copy, raw=str(raw))
    shutil.rmtree(raw)


def test_second_run_encodes_nothing(whole_run: Run, place: Place) -> None:
    before, version = whole_run.json("embeddings_report"), _table(place).version

    after = place.json("embeddings_report", place.run("--pipeline=embeddings"))

    assert before["encoded"] == before["photos"] > 0
    assert (after["encoded"], after["reused"], after["removed"]) == (0, before["photos"], 0)
    assert after["digest"] == before["digest"]
    assert _table(place).version == version, "nothing was to be written"


def test_changed_photos_update_their_embeddings(
    whole_run: Run, place: Place, draw_photo: Callable[[int], bytes]
) -> None:
    before, vectors = whole_run.json("embeddings_report"), _vectors(place)
    gone = set(sorted(vectors)[::5][:10])
    _remove_photos(place, gone)
    _add_photos(place, {f"new-{seed}": draw_photo(seed) for seed in range(30)})

    place.run("--pipeline=cleaning")
    after = place.json("embeddings_report", place.run("--pipeline=embeddings"))

    remaining = {name: item for name, item in vectors.items() if name not in gone}
    assert (after["encoded"], after["reused"], after["removed"]) == (30, len(remaining), 10)
    assert len(remaining) == before["photos"] - 10
    now = _vectors(place)
    assert now.keys() - remaining.keys() == {f"new-{seed}" for seed in range(30)}
    assert {image_id: now[image_id] for image_id in remaining} == remaining
    assert after["encoder_sha256"] == before["encoder_sha256"]


def test_killed_run_resumes_to_the_same_digest(place: Place) -> None:
    shutil.rmtree(place.lake_path("07_model_output/image_embeddings.lance"))
    with start_run(place, "--pipeline=embeddings", SMALL_STEPS) as run:
        run.wait_for(lambda: bool(committed(Path(place.lake)).get("image_embeddings.lance")))
        run.kill()
    records, done = place.records(), _vectors(place)
    photos = len(place.photo_table())
    assert 0 < len(done) < photos, "it was to be killed half-way"

    version = place.run("--pipeline=embeddings", SMALL_STEPS)

    went_on = place.json("embeddings_report", version)
    assert set(place.records()) - set(records) == {version}
    assert (went_on["encoded"], went_on["reused"]) == (photos - len(done), len(done))
    shutil.rmtree(place.lake_path("07_model_output/image_embeddings.lance"))
    undisturbed = place.json("embeddings_report", place.run("--pipeline=embeddings", SMALL_STEPS))
    assert undisturbed["encoded"] == photos
    assert went_on["digest"] == undisturbed["digest"]


def test_embeddings_are_exported_as_json(whole_run: Run, place: Place) -> None:
    assert "image_embeddings_json" not in whole_run.record["outputs"]

    written = [
        place.read("image_embeddings", place.run("--pipeline=embeddings_json")) for _ in range(2)
    ]

    vectors = _vectors(place)
    result: dict[str, Any] = json.loads(written[0])
    assert list(result) == sorted(vectors)
    assert {name: np.float32(item).tobytes() for name, item in result.items()} == vectors
    assert written[0] == written[1]


def _table(place: Place) -> lance.LanceDataset:
    return lance.dataset(place.lake_path("07_model_output/image_embeddings.lance"))


def _vectors(place: Place) -> dict[str, bytes]:
    """The vector of each photo, as bytes, by id."""
    rows = _table(place).to_table(columns=["image_id", "embedding"]).to_pylist()
    return {row["image_id"]: np.float32(row["embedding"]).tobytes() for row in rows}


def _add_photos(place: Place, photos: dict[str, bytes]) -> None:
    """Put files into the bucket, each with a row, as photos of a listing that has some."""
    some = place.photo_table().to_table(columns=["product_id"]).column("product_id")[0].as_py()
    columns, *rows = _image_rows(place)
    for image_id, content in photos.items():
        Path(place.raw, "images", f"{image_id}.jpg").write_bytes(content)
        values = {"id": image_id, "product_id": some}
        rows.append([values.get(column, "") for column in columns])
    _write_image_rows(place, [columns, *rows])


def _remove_photos(place: Place, gone: set[str]) -> None:
    """Take files out of the bucket, and their rows."""
    columns, *rows = _image_rows(place)
    for image_id in gone:
        Path(place.raw, "images", f"{image_id}.jpg").unlink()
    remaining = [row for row in rows if row[columns.index("id")] not in gone]
    _write_image_rows(place, [columns, *remaining])


def _image_rows(place: Place) -> list[list[str]]:
    with Path(place.raw, "Assets/Images.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_image_rows(place: Place, rows: list[list[str]]) -> None:
    with Path(place.raw, "Assets/Images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
