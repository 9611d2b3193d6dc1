"""From a clone and a bucket to answers, by the commands that the README names."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.kedro_project import PROJECT, Place, Run, clean_environment, command, serving
from support.killed_runs import committed, start_run

from fb_marketplace_serving.search.listings.listing import Listing

COLUMNS_OF_A_HIT = {"image_id", "score", *Listing._fields}


@pytest.fixture(scope="module")
def server(whole_run: Run) -> Iterator[str]:
    with serving(whole_run.place) as address:
        yield address


def test_run_leaves_checkout_unchanged(whole_run: Run) -> None:
    changed = command(
        *("git", "status", "--porcelain"),
        cwd=whole_run.place.clone,
        environment=clean_environment(),
    )

    assert changed == ""


def test_run_record_names_inputs_and_outputs(whole_run: Run) -> None:
    record = whole_run.record

    assert record["version"] == whole_run.version
    assert record["pipelines"] == ["__default__"]
    assert record["inputs"] == {}, "the whole way reads only the bucket"
    assert {"products", "images", "splits", "encoder", "image_index", "release"} < set(
        record["outputs"]
    )
    assert set(record["outputs"].values()) == {whole_run.version}


def test_outputs_in_run_record_exist(whole_run: Run) -> None:
    place = whole_run.place
    elsewhere = {
        "release": f"releases/{whole_run.version}.json",
        "checkpoints": f"*/checkpoints/{whole_run.version}",
        "training_events": f"*/tensorboard/*/{whole_run.version}",
        "vector_tables": f"*/vector_tables/{whole_run.version}/*/tables.json",
    }
    lost = [
        name
        for name in whole_run.record["outputs"]
        if not place.files.glob(
            place.lake_path(elsewhere.get(name, f"*/{name}.*/{whole_run.version}"))
        )
        and not place.files.exists(place.lake_path(_tag_of(place, name, whole_run.version)))
    ]

    assert lost == []


def test_photo_gets_a_category(server: str, whole_run: Run) -> None:
    _, photo = _a_photo_without_copies(whole_run)

    answer = _ask("/predict/image", server, photo)

    probabilities = answer["probabilities"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert answer["confidence"] == max(probabilities.values()) == probabilities[answer["category"]]
    assert set(probabilities) == set(whole_run.table("products")["category"])


def test_first_hit_of_photo_is_itself(server: str, whole_run: Run) -> None:
    image_id, photo = _a_photo_without_copies(whole_run)

    hits = _ask("/predict/similar_images", server, photo)["hits"]

    products = whole_run.table("products").set_index("product_id")
    assert len(hits) == 5
    assert hits[0]["image_id"] == image_id
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    for hit in hits:
        listing = products.loc[hit["product_id"]]
        assert hit.keys() == COLUMNS_OF_A_HIT
        assert (hit["title"], hit["category"]) == (listing["title"], listing["category"])


@pytest.mark.slow
def test_run_can_load_older_versions(whole_run: Run) -> None:
    place = whole_run.place
    newer = place.run("--pipeline=cleaning")
    read = ("images", "product_labels", "splits")
    older = ",".join(f"{name}:{whole_run.version}" for name in read)

    reader = ("--pipeline=baselines", "--to-outputs=category_pixel_predictions")
    params = place.run(*reader, f"--load-versions={older}")
    latest = place.run(*reader)

    records = place.records()
    assert records[params]["inputs"] == dict.fromkeys(read, whole_run.version)
    assert records[latest]["inputs"] == dict.fromkeys(read, newer)


@pytest.mark.slow
def test_killed_run_resumes(whole_run: Run, tmp_path: Path) -> None:
    place = Place(whole_run.place.clone, whole_run.place.raw, str(tmp_path / "lake"))
    photos = len(whole_run.place.photo_table())
    small_steps = "--params=cleaning.photos.photos_per_batch=8,cleaning.photos.processes=0"
    with start_run(place, "--pipeline=cleaning", small_steps) as run:
        run.wait_for(lambda: bool(committed(Path(place.lake)).get("images.lance")))
        workers = psutil.Process(run.process.pid).children(recursive=True)
        run.process.kill()
        run.process.wait()
        _, left = psutil.wait_procs(workers, timeout=15)
    assert workers
    assert left == [], "processes that read photos outlive the run"
    done = {fragment.data_files()[0].path for fragment in place.photo_table().get_fragments()}
    assert 0 < len(place.photo_table()) < photos, "it was to be killed halfway"
    assert place.records() == {}

    version = place.run("--pipeline=cleaning")

    table = place.photo_table()
    assert done <= {file.path for part in table.get_fragments() for file in part.data_files()}
    assert table.count_rows() == photos
    assert (
        place.json("cleaning_report", version)["digests"]
        == (whole_run.json("cleaning_report")["digests"])
    )


def _tag_of(place: Place, name: str, version: str) -> str:
    result = place.files.glob(place.lake_path(f"*/{name}.lance"))
    return f"{result[0]}/_refs/tags/{version}.json" if result else "nowhere"


def _a_photo_without_copies(run: Run) -> tuple[str, Path]:
    copies = set(run.table("duplicate_groups")["image_id"])
    table = run.place.photo_table().to_table(columns=["image_id", "source_key"]).to_pylist()
    photo = next(photo for photo in table if photo["image_id"] not in copies)
    return photo["image_id"], run.place.clone / run.place.raw / "images" / photo["source_key"]


def _ask(path: str, server: str, photo: Path) -> Any:
    """Run the line of the README that asks a path, of our server and with our photo."""
    blocks = re.findall(r"^```bash\n(.*?)^```", _readme(), flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    asking = [line for line in lines if line.startswith("curl ") and path in line]
    assert asking, f"README.md has no ```bash block with a curl line that asks {path}"
    words = [
        word.replace("@$photo", f"@{photo}").replace("http://127.0.0.1:8000", server)
        for word in shlex.split(asking[0], comments=True)
    ]
    message = command(
        *(words[0], "--silent", "--show-error", "--fail-with-body", *words[1:]),
        cwd=PROJECT,
        environment=clean_environment(),
    )
    return json.loads(message)


def _readme() -> str:
    path = PROJECT / "README.md"
    assert path.is_file(), "there is no README.md"
    return path.read_text(encoding="utf-8")
